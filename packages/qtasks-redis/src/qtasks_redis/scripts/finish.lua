#!lua flags=allow-oom
-- include: common ring push clock number delay claim insert tell
-- End deliveries: channel of the movers, epoch, most dead letters of a queue, then sections.
-- 'k', ttl in s, mailbox, count, then member, final record of each: acknowledged, as most are.
-- 'd', count, then member of each: acknowledged, and nothing is kept.
-- 's', member, verdict, value, ttl in s, target, item, due, unique key to free, mailbox, frame, count of follow-ups,
-- then target, item, value, due, unique key, its ttl of each follow-up.
-- Verdict: 'a' keep the value, or nothing; 'r' wait again as the value; 'b' give it back; 'x' bury the value.
-- A value '>' is staged under the member's item.
-- Return number and what is wrong: 1 not ours, 2 final already; last of all, dead letters dropped.
local held, most_dead = P .. 'i:' .. ARGV[2], tonumber(ARGV[3])
local at, number, wrong, dropped = 4, 0, {}, 0
local early = call('EXISTS', P .. 'f') == 1

local function fault(code)
  wrong[#wrong + 1] = number
  wrong[#wrong + 1] = code
end

-- An earlier final record stays; the message is gone nevertheless.
local function is_final(uuid)
  return early and call('SREM', P .. 'f', uuid) == 1
end

local function keep(key, value, ttl, staged)
  if value == '>' then
    call('RENAME', staged, key)
    if ttl == '' then call('PERSIST', key) else call('EXPIRE', key, ttl) end
  elseif ttl == '' then
    call('SET', key, value)
  else
    call('SET', key, value, 'EX', ttl)
  end
end

local function bury(queue, item)
  local key = P .. 'x:' .. queue
  call('ZADD', key, next_number('buried'), item)
  call('SADD', P .. 'queues', queue)
  for _ = 1, call('ZCARD', key) - most_dead do
    local oldest = call('ZPOPMIN', key)[1]
    local record = P .. 'r:' .. sub(oldest, 1, 16)
    if call('GETRANGE', record, 0, 0) == 'D' then call('DEL', record) end
    dropped = dropped + 1
  end
end

local function apply(member)
  local verdict, value, ttl, target, item = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  local due, unique, mailbox, frame = ARGV[at + 6], ARGV[at + 7], ARGV[at + 8], ARGV[at + 9]
  local uuid = sub(member, 1, 16)
  local key, staged = P .. 'r:' .. uuid, P .. 'b:' .. sub(member, 1, ITEM)
  if is_final(uuid) then
    if value == '>' then call('DEL', staged) end
    return value ~= '' and 2 or nil
  end
  if value == '>' and call('EXISTS', staged) == 0 then return 3 end
  if verdict == 'a' then
    if value == '' then call('DEL', key) else keep(key, value, ttl, staged) end
  elseif verdict == 'r' then
    keep(key, value, '', staged)
    if due == '' then push(target, { item }) else place(target, item, due) end
  elseif verdict == 'b' then
    if call('GETRANGE', key, 0, 0) == 'P' then call('SETRANGE', key, 0, 'W') end
    if due == '' then push(target, { item }, true) else place(target, item, due) end
  else
    keep(key, value, '', staged)
    bury(sub(target, 2), item)
  end
  free(unique, uuid)
  if frame ~= '' then tell_all(mailbox, uuid, frame, true) end
end

while ARGV[at] do
  local kind = ARGV[at]
  if kind == 'k' then
    local ttl, mailbox, count = ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
    local members, mine, records = {}, nil, P .. 'r:'
    at = at + 4
    for index = 1, count do members[index] = ARGV[at + 2 * index - 2] end
    local owned = call('SMISMEMBER', held, unpack(members))
    local box, apart = box_of(mailbox), is_watched()
    for index = 1, count do
      local member = members[index]
      if owned[index] == 0 then
        mine = mine or { unpack(members, 1, index - 1) }
        fault(1)
      else
        if mine then mine[#mine + 1] = member end
        local uuid, value = sub(member, 1, 16), ARGV[at + 2 * index - 1]
        if early and is_final(uuid) then
          fault(2)
        else
          call('SET', records .. uuid, value, 'EX', ttl)
          local frame = #value < 4096 and value or 'L\0\0\0\0'
          if box then
            local size = #box
            box[size + 1], box[size + 2] = uuid, frame
          end
          if apart then tell_others(mailbox, uuid, frame, true) end
        end
      end
      number = number + 1
    end
    mine = mine or members
    if #mine > 0 then call('SREM', held, unpack(mine)) end
    at = at + 2 * count
  elseif kind == 'd' then
    local count = tonumber(ARGV[at + 1])
    at = at + 2
    for index = at, at + count - 1 do
      local uuid = sub(ARGV[index], 1, 16)
      if call('SREM', held, ARGV[index]) == 0 then
        fault(1)
      elseif not is_final(uuid) then
        call('DEL', P .. 'r:' .. uuid)
      end
      number = number + 1
    end
    at = at + count
  else
    at = at + 1
    local member, follow_ups = ARGV[at], tonumber(ARGV[at + 10])
    local answer = 1
    if call('SREM', held, member) == 1 then
      answer = apply(member)
      if answer == 3 then call('SADD', held, member) end -- what was staged is gone: to be said again
    elseif ARGV[at + 2] == '>' then
      call('DEL', P .. 'b:' .. sub(member, 1, ITEM))
    end
    at = at + 11
    for _ = 1, follow_ups do
      if answer == nil or answer == 2 then
        insert(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5])
      end
      at = at + 6
    end
    if answer then fault(answer) end
    number = number + 1
  end
end
send_mail()
ring_touched()
wrong[#wrong + 1] = dropped
return wrong
