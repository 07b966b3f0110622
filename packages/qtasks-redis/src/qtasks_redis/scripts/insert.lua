-- Add one task in whatever form; return nil, or the uuid of the task that is there.
-- A value of an odd item is staged: it came beside the script, since large values are dear in here.
local function insert(target, item, value, due, unique, ttl)
  local uuid = sub(item, 1, 16)
  local key, staged = P .. 'r:' .. uuid, P .. 'b:' .. item
  local large = byte(item, ITEM) % 2 == 1
  local there = call('EXISTS', key) == 1 and uuid
  if not there and large and call('EXISTS', staged) == 0 then return '?' end
  if not there and unique ~= '' then there = claim(unique, uuid, ttl) end
  if there then
    if large then call('DEL', staged) end
    return there
  end
  if large then
    call('RENAME', staged, key)
    call('PERSIST', key)
  else
    call('SET', key, value)
  end
  if target == '' then return end
  if due == '' then push(target, { item }) else place(target, item, due) end
end
