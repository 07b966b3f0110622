#!lua flags=allow-oom
-- include: common ring push clock delay claim tell
-- Change tasks that are still as they were read: channel of the movers, then of each: uuid, SHA-1 of its value ('' for none), '1' when it must not be
-- in a worker's hands, the number of steps, then four values of each step. Return for each: 1 done, 0 changed meanwhile,
-- -1 in a worker's hands.
local held
local function is_held(uuid)
  if not held then
    held = {}
    for _, value in ipairs(call('HVALS', P .. 'workers')) do
      for _, member in ipairs(call('SMEMBERS', P .. 'i:' .. string.match(value, '^%d+'))) do
        held[sub(member, 1, 16)] = true
      end
    end
  end
  return held[uuid]
end

local steps = {
  set = function(uuid, value, ttl)
    if ttl == '' then call('SET', P .. 'r:' .. uuid, value) else call('SET', P .. 'r:' .. uuid, value, 'PX', ttl) end
  end,
  del = function(uuid) call('DEL', P .. 'r:' .. uuid) end,
  push = function(_, target, item, due)
    if due == '' then push(target, { item }) else place(target, item, due) end
  end,
  pull = function(uuid, target, item) -- its place in a list stays, counted, until a worker finds it
    local queue = sub(target, 2)
    if is_held(uuid) then return call('SADD', P .. 'f', uuid) end
    if call('ZREM', P .. 'd:' .. queue, item .. sub(target, 1, 1)) == 0 then call('HINCRBY', P .. 'g', queue, 1) end
  end,
  claim = function(uuid, unique, ttl) claim(unique, uuid, ttl) end,
  free = function(uuid, unique) free(unique, uuid) end,
  tell = function(uuid, mailbox, frame) tell_all(mailbox, uuid, frame, true) end,
  unbury = function(_, queue, item) call('ZREM', P .. 'x:' .. queue, item) end,
  unstream = function(uuid, before) -- a stream of a former life
    local last = call('XREVRANGE', P .. 'e:' .. uuid, '+', '-', 'COUNT', 1)[1]
    if last and (before == '' or tonumber(last[2][6]) < tonumber(before)) then call('DEL', P .. 'e:' .. uuid) end
  end,
}

local answers, at = {}, 2
while ARGV[at] do
  local uuid, expected, free_only, count = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local value = call('GET', P .. 'r:' .. uuid)
  at = at + 4
  local answer = 1
  if (value and redis.sha1hex(value) or '') ~= expected then
    answer = 0
  elseif free_only == '1' and is_held(uuid) then
    answer = -1
  end
  for _ = 1, count do
    if answer == 1 then steps[ARGV[at]](uuid, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]) end
    at = at + 4
  end
  answers[#answers + 1] = answer
end
send_mail()
ring_touched()
return answers
