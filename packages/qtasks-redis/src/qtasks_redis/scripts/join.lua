#!lua flags=allow-oom
-- include: common ring push takeover clock number
-- Register a worker: name, ms of its lease, what its bell's channel begins with; its epoch follows. A life under the same name ends as by a crash. Return its epoch.
take_over(ARGV[1], true)
local epoch = next_number('epoch')
call('HSET', P .. 'workers', ARGV[1], epoch .. ' 0 ' .. ARGV[3] .. epoch)
call('ZADD', P .. 'live', now() + tonumber(ARGV[2]) * 1000, ARGV[1])
ring_touched()
return tonumber(epoch)
