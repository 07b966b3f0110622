#!lua flags=allow-oom
-- include: common clock
-- Count what is ready, delayed, running and dead in a queue.
local queue = ARGV[1]
local ready, running = 0, 0
for _, priority in ipairs(call('ZRANGE', P .. 'p:' .. queue, 0, -1)) do
  ready = ready + call('LLEN', P .. 'q:' .. priority .. queue)
end
ready = ready - tonumber(call('HGET', P .. 'g', queue) or 0)
local due = call('ZCOUNT', P .. 'd:' .. queue, '-inf', now())
for _, value in ipairs(call('HVALS', P .. 'workers')) do
  for _, member in ipairs(call('SMEMBERS', P .. 'i:' .. string.match(value, '^%d+'))) do
    if sub(member, 28) == queue then running = running + 1 end
  end
end
local delayed = call('ZCARD', P .. 'd:' .. queue) - due
return { math.max(ready, 0) + due, delayed, running, call('ZCARD', P .. 'x:' .. queue) }
