-- Put items into the list of a target: the byte of the priority + 128, then the name of the queue.
local touched = {}
local function push(target, items, front)
  local queue = sub(target, 2)
  for first = 1, #items, MANY do
    local last = math.min(first + MANY - 1, #items)
    local length = call(front and 'LPUSH' or 'RPUSH', P .. 'q:' .. target, unpack(items, first, last))
    if length == last - first + 1 then
      call('ZADD', P .. 'p:' .. queue, byte(target) - 128, sub(target, 1, 1))
      call('SADD', P .. 'queues', queue)
    end
  end
  touched[queue] = true
end

local function ring_touched()
  for queue in pairs(touched) do ring(queue) end
end
