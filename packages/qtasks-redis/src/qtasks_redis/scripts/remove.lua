#!lua flags=allow-oom
-- include: common
-- Remove those of some records that are in one of the states given first; return how many.
local count = 0
for index = 2, #ARGV do
  local key = P .. 'r:' .. ARGV[index]
  local state = call('GETRANGE', key, 0, 0)
  if state ~= '' and string.find(ARGV[1], state, 1, true) then count = count + call('UNLINK', key) end
end
return count
