#!lua flags=allow-oom
-- include: common ring push takeover
-- Take away, charged, what the worker of that name holds; return how much that was.
local count = take_over(ARGV[1], true)
ring_touched()
return count
