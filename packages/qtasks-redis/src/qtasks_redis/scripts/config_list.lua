#!lua flags=allow-oom
-- include: common
-- Return the newest revision, then name, value and ms to live of all whose name begins with a prefix.
local out = { tonumber(call('GET', P .. 'revision') or 0) }
local names = call('ZRANGEBYLEX', P .. 'names', '[' .. ARGV[1], '[' .. ARGV[1] .. '\255')
for _, name in ipairs(names) do
  local key = P .. 'c:' .. name
  local value = call('GET', key)
  if value then
    out[#out + 1] = name
    out[#out + 1] = value
    out[#out + 1] = call('PTTL', key)
  else
    call('ZREM', P .. 'names', name)
  end
end
return out
