-- Push what is due, a thousand at once; return when the next is due, in microseconds of the epoch.
local function move(queue)
  local key = P .. 'd:' .. queue
  local head = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if #head == 0 then return nil end
  if tonumber(head[2]) > now() then return tonumber(head[2]) end
  local groups, order = {}, {}
  local due = call('ZRANGEBYSCORE', key, '-inf', now(), 'LIMIT', 0, 1000)
  for _, member in ipairs(due) do
    local priority = sub(member, ITEM + 1)
    if not groups[priority] then
      groups[priority] = {}
      order[#order + 1] = priority
    end
    table.insert(groups[priority], sub(member, 1, ITEM))
  end
  for _, priority in ipairs(order) do push(priority .. queue, groups[priority]) end
  call('ZREMRANGEBYRANK', key, 0, #due - 1)
  head = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return tonumber(head[2])
end
