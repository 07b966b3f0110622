#!lua flags=allow-oom
-- include: common ring push clock move
-- Take tasks: worker, epoch, turn, its four bytes, most tasks, most bytes, the number of queues in whose idle sets the
-- worker may be, their names, then name and most tasks of each queue.
-- Return false: registered no more. Else ms until the next is due (-1: none), then for each run of one queue and
-- priority: its target, its items joined, and their values ('' of a large one).
local worker, epoch, turn, mark = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local left, bytes = tonumber(ARGV[5]), tonumber(ARGV[6])
local registered, first_turn, bell = string.match(call('HGET', P .. 'workers', worker) or '', '^(%d+) (%d+) (.*)$')
if registered ~= epoch or turn < tonumber(first_turn) then return false end

local at = 8 + tonumber(ARGV[7])
for index = 8, at - 1 do call('SREM', P .. 'z:' .. ARGV[index], bell) end

local queues, next_due, lists = {}, nil, {}
while ARGV[at] do
  local queue = { name = ARGV[at], left = tonumber(ARGV[at + 1]) }
  queues[#queues + 1] = queue
  at = at + 2
  local due = move(queue.name)
  if due and (not next_due or due < next_due) then next_due = due end
  for _, priority in ipairs(call('ZRANGE', P .. 'p:' .. queue.name, 0, -1)) do
    lists[#lists + 1] = { priority = byte(priority), target = priority .. queue.name, queue = queue }
  end
end
table.sort(lists, function(a, b) return a.priority < b.priority end)

local out, taken, held = { -1 }, 0, P .. 'i:' .. epoch

-- Pop up to n of a list; hold and return what is valid still. What was cancelled or replaced leaves its place behind.
local function pop(list, n)
  local items = call('LPOP', P .. 'q:' .. list.target, n) or {}
  if #items < n then
    local queue = list.queue.name
    call('ZREM', P .. 'p:' .. queue, sub(list.target, 1, 1))
    if call('EXISTS', P .. 'p:' .. queue, P .. 'd:' .. queue, P .. 'x:' .. queue) == 0 then
      call('SREM', P .. 'queues', queue) -- its name comes back with its next task
    end
    list.empty = true
  end
  if #items == 0 then return end
  local keys = {}
  for index, item in ipairs(items) do
    keys[index] = P .. (byte(item, ITEM) % 2 == 1 and 'large:' or 'r:') .. sub(item, 1, 16)
  end
  local values, good, members = call('MGET', unpack(keys)), {}, {}
  local start = #out + 2
  for index, item in ipairs(items) do
    local value, large = values[index], byte(item, ITEM) % 2 == 1
    if large then value = call('GETRANGE', P .. 'r:' .. sub(item, 1, 16), 0, 7) end
    local state = value and byte(value)
    if (state == 87 or state == 80) and sub(value, 3, 8) == sub(item, 17) then
      good[#good + 1] = item
      members[#members + 1] = item .. mark .. list.target
      out[start + #good] = large and '' or value
      bytes = bytes - #value
    else
      call('SREM', P .. 'f', sub(item, 1, 16))
      if call('HINCRBY', P .. 'g', list.queue.name, -1) <= 0 then call('HDEL', P .. 'g', list.queue.name) end
    end
  end
  if #good == 0 then return end
  out[start - 1], out[start] = list.target, table.concat(good)
  call('SADD', held, unpack(members))
  taken, left, list.queue.left = taken + #good, left - #good, list.queue.left - #good
end

-- Of several lists of one priority, how many of the first are older than the heads of the others.
local function older(list, others, n)
  local heads = {}
  for _, other in ipairs(others) do
    if other ~= list and not other.empty and other.queue.left > 0 then
      local item = call('LINDEX', P .. 'q:' .. other.target, 0)
      if item then heads[#heads + 1] = struct.unpack('>I6', item, 17) end
    end
  end
  if #heads == 0 then return n end
  local limit = math.min(unpack(heads))
  local items = call('LRANGE', P .. 'q:' .. list.target, 0, n - 1)
  for index, item in ipairs(items) do
    if struct.unpack('>I6', item, 17) > limit then return index - 1 end
  end
  return math.max(#items, 1)
end

local function pop_equal(group)
  while left > 0 and bytes > 0 do
    local oldest, age
    for _, list in ipairs(group) do
      if not list.empty and list.queue.left > 0 then
        local item = call('LINDEX', P .. 'q:' .. list.target, 0)
        if not item then
          pop(list, 1)
        else
          local born = struct.unpack('>I6', item, 17)
          if not age or born < age then oldest, age = list, born end
        end
      end
    end
    if not oldest then return end
    local most = math.min(left, oldest.queue.left, 50)
    pop(oldest, math.max(older(oldest, group, most), 1))
  end
end

local index = 1
while index <= #lists and left > 0 and bytes > 0 do
  local group = { lists[index] }
  while lists[index + #group] and lists[index + #group].priority == group[1].priority do
    group[#group + 1] = lists[index + #group]
  end
  index = index + #group
  if #group > 1 then
    pop_equal(group)
  else
    local list = group[1]
    while left > 0 and bytes > 0 and list.queue.left > 0 and not list.empty do
      pop(list, math.min(left, list.queue.left, 50))
    end
  end
end

if next_due then out[1] = math.max(math.ceil((next_due - now()) / 1000), 0) end
for _, queue in ipairs(queues) do
  if taken == 0 then
    if queue.left > 0 then call('SADD', P .. 'z:' .. queue.name, bell) end
  elseif left <= 0 or bytes <= 0 or queue.left <= 0 then
    if call('EXISTS', P .. 'p:' .. queue.name) == 1 then ring(queue.name) end
  end
end
return out
