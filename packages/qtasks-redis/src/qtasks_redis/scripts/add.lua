#!lua
-- include: common ring push clock delay claim insert
-- Add tasks: channel of the movers, then sections: 'p', target, count, then item, value of each; or
-- 's', target, count, then item, value, due, unique key, its ttl in ms of each. Target '': no message.
-- Return number and holder of each that is there already.
local there, at, number = {}, 2, 0
while ARGV[at] do
  local kind, target, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 3
  if kind == 'p' then
    local new = {}
    for _ = 1, count do
      local item = ARGV[at]
      if call('SET', P .. 'r:' .. sub(item, 1, 16), ARGV[at + 1], 'NX') then
        new[#new + 1] = item
      else
        there[#there + 1] = number
        there[#there + 1] = sub(item, 1, 16)
      end
      number, at = number + 1, at + 2
    end
    if #new > 0 then push(target, new) end
  else
    for _ = 1, count do
      local holder = insert(target, ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
      if holder then
        there[#there + 1] = number
        there[#there + 1] = holder
      end
      number, at = number + 1, at + 5
    end
  end
end
ring_touched()
return there
