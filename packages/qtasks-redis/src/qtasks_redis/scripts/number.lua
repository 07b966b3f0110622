-- Return the next number of a counter, as text. One that nobody has asked for a day is gone, and begins again at the
-- time in microseconds: what comes later is larger all the same.
local function next_number(name)
  local key = P .. name
  if call('EXISTS', key) == 0 then call('SET', key, string.format('%.0f', now())) end
  local number = call('INCR', key)
  call('EXPIRE', key, 86400)
  return string.format('%.0f', number)
end
