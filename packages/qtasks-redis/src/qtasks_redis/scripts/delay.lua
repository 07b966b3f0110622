-- The scripts that use it get the channel of the movers first.
local movers = ARGV[1]

-- Hold an item back until it is due (in microseconds): 'r' from now on, 'a' of the epoch; what is due already is pushed.
local function place(target, item, due)
  local at = tonumber(sub(due, 2))
  if sub(due, 1, 1) == 'r' then at = at + now() end
  if at <= now() then return push(target, { item }) end
  local queue = sub(target, 2)
  local key, member = P .. 'd:' .. queue, item .. sub(target, 1, 1)
  call('ZADD', key, at, member)
  call('SADD', P .. 'queues', queue)
  if call('ZRANK', key, member) == 0 then -- the movers sleep until another one is due
    call('PUBLISH', movers, math.ceil((at - now()) / 1000) .. ' ' .. queue)
  end
end
