#!lua flags=allow-oom
-- include: common
-- Have a mailbox told of tasks no more: mailbox, then uuids.
for index = 2, #ARGV do
  local left = {}
  for box in string.gmatch(call('HGET', P .. 'w', ARGV[index]) or '', '[^\n]+') do
    if box ~= ARGV[1] then left[#left + 1] = box end
  end
  if #left > 0 then
    call('HSET', P .. 'w', ARGV[index], table.concat(left, '\n'))
  else
    call('HDEL', P .. 'w', ARGV[index])
  end
end
