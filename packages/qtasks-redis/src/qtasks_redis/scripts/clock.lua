-- Microseconds of the epoch. They must not be joined to text: Lua would round them.
local clock
local function now()
  if not clock then
    local time = call('TIME')
    clock = time[1] * 1000000 + time[2]
  end
  return clock
end
