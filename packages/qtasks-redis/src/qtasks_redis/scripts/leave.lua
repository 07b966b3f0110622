#!lua flags=allow-oom
-- include: common ring push takeover
-- End a registration and give back, uncharged, what is still held: name, epoch, its bell, queues in whose idle sets it may be.
for index = 4, #ARGV do
  call('SREM', P .. 'z:' .. ARGV[index], ARGV[3])
  touched[ARGV[index]] = true
end
if string.match(call('HGET', P .. 'workers', ARGV[1]) or '', '^%d+') == ARGV[2] then take_over(ARGV[1], false) end
ring_touched()
