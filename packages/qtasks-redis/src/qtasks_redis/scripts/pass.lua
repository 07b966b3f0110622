#!lua flags=allow-oom
-- include: common ring
-- Hand on a bell that its worker does not follow: its channel, then queues.
for index = 2, #ARGV do
  local queue = ARGV[index]
  call('SREM', P .. 'z:' .. queue, ARGV[1])
  if call('EXISTS', P .. 'p:' .. queue) == 1 then ring(queue) end
end
