#!lua flags=allow-oom
-- include: common ring push takeover clock
-- Renew leases: ms of a lease, '1' to look for the dead, then name and epoch of each worker.
-- A lease that ran out and was not taken over yet is renewed like any other.
-- Return the epochs that are registered no more, then how many died and how much they held.
local lost = {}
for index = 3, #ARGV, 2 do
  local name, epoch = ARGV[index], ARGV[index + 1]
  if string.match(call('HGET', P .. 'workers', name) or '', '^%d+') == epoch then
    call('ZADD', P .. 'live', now() + tonumber(ARGV[1]) * 1000, name)
  else
    lost[#lost + 1] = epoch
  end
end
local died, taken = 0, 0
if ARGV[2] == '1' then
  for _, name in ipairs(call('ZRANGEBYSCORE', P .. 'live', '-inf', now(), 'LIMIT', 0, 20)) do
    died, taken = died + 1, taken + take_over(name, true)
  end
  if died > 0 then -- a bell that rang for one of them was heard by nobody
    for _, queue in ipairs(call('SMEMBERS', P .. 'queues')) do touched[queue] = true end
  end
end
ring_touched()
lost[#lost + 1] = died
lost[#lost + 1] = taken
return lost
