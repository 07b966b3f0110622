#!lua flags=allow-oom
-- include: common ring push takeover
-- Put back, uncharged, what a worker took in one turn that nobody has seen: worker, epoch, turn, its four bytes.
-- That turn, should it come yet, takes nothing.
local worker, epoch, turn, mark = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local registered, first_turn, bell = string.match(call('HGET', P .. 'workers', worker) or '', '^(%d+) (%d+) (.*)$')
if registered ~= epoch then return 0 end
if tonumber(first_turn) <= turn then call('HSET', P .. 'workers', worker, epoch .. ' ' .. (turn + 1) .. ' ' .. bell) end
local held, mine = P .. 'i:' .. epoch, {}
for _, member in ipairs(call('SMEMBERS', held)) do
  if sub(member, 23, 26) == mark then mine[#mine + 1] = member end
end
if #mine > 0 then
  restore(mine, false)
  for first = 1, #mine, MANY do call('SREM', held, unpack(mine, first, math.min(first + MANY - 1, #mine))) end
end
ring_touched()
return #mine
