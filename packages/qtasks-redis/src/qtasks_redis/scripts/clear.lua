#!lua flags=allow-oom
-- include: common
-- Forget all queues, and what workers hold. Their messages stay, in nobody's reach, until they are removed.
for _, queue in ipairs(call('SMEMBERS', P .. 'queues')) do
  for _, priority in ipairs(call('ZRANGE', P .. 'p:' .. queue, 0, -1)) do
    call('UNLINK', P .. 'q:' .. priority .. queue)
  end
  call('UNLINK', P .. 'p:' .. queue, P .. 'd:' .. queue, P .. 'x:' .. queue)
end
for _, value in ipairs(call('HVALS', P .. 'workers')) do
  call('DEL', P .. 'i:' .. string.match(value, '^%d+'))
end
call('DEL', P .. 'queues', P .. 'g', P .. 'f')
