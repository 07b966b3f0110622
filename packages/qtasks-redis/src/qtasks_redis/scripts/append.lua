#!lua
-- include: common tell
-- Add to streams: ms that they are kept, most events, then for each run: uuid, attempt, crashes, start, count, and number
-- and event of each. A newer run begins the stream anew; what an older one still says, and what is said twice, is left out.
local function newer(one, other)
  for index = 1, 3 do
    local a, b = tonumber(one[index]), tonumber(other[index])
    if a ~= b then return a > b end
  end
  return false
end

local at = 3
while ARGV[at] do
  local uuid, run, count = ARGV[at], { ARGV[at + 1], ARGV[at + 2], ARGV[at + 3] }, tonumber(ARGV[at + 4])
  local key, life, top, counts = P .. 'e:' .. uuid, 1, -1, true
  local last = call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  at = at + 5
  if last then
    local there, before = { last[2][2], last[2][4], last[2][6] }, string.match(last[1], '^(%d+)')
    if newer(there, run) then
      counts = false
    elseif newer(run, there) then
      call('DEL', key)
      life = tonumber(before) + 1
    else
      life, top = tonumber(before), tonumber(string.match(last[1], '(%d+)$'))
    end
  end
  for index = at, at + 2 * count - 1, 2 do
    local number = tonumber(ARGV[index]) + 1
    if counts and number > top then
      local id = string.format('%.0f-%.0f', life, number)
      call('XADD', key, 'MAXLEN', '~', ARGV[2], id, 'a', run[1], 'c', run[2], 's', run[3], 'e', ARGV[index + 1])
      top = number
    end
  end
  at = at + 2 * count
  if counts then
    call('PEXPIRE', key, ARGV[1])
    tell_all('', uuid, 'E\0\0\0\0', false)
  end
end
send_mail()
