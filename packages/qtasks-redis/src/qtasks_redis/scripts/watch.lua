#!lua flags=allow-oom
-- include: common
-- Have a mailbox told of tasks, and return them as they are: mailbox, then uuids.
local answers = {}
for index = 2, #ARGV do
  local uuid = ARGV[index]
  local value = call('GET', P .. 'r:' .. uuid)
  answers[#answers + 1] = value
  local state = value and byte(value)
  if state ~= 70 and state ~= 68 then
    local boxes = call('HGET', P .. 'w', uuid) or ''
    if not string.find('\n' .. boxes .. '\n', '\n' .. ARGV[1] .. '\n', 1, true) then
      call('HSET', P .. 'w', uuid, boxes == '' and ARGV[1] or boxes .. '\n' .. ARGV[1])
    end
  end
end
return answers
