-- Put what a worker holds to the front again: charged with a crash, or given back. Return how much that was.
local function restore(members, charged)
  local groups = {}
  for _, member in ipairs(members) do
    local item, target = sub(member, 1, ITEM), sub(member, 27)
    local key = P .. 'r:' .. sub(item, 1, 16)
    local head = call('GETRANGE', key, 0, 7)
    if sub(head, 3) == sub(item, 17) and (charged or byte(head) == 80) then
      call('SETRANGE', key, 0, 'W' .. char(math.min(byte(head, 2) + (charged and 1 or 0), 255)))
    end
    if not groups[target] then groups[target] = {} end
    table.insert(groups[target], item)
  end
  for target, items in pairs(groups) do
    table.sort(items, function(a, b) return struct.unpack('>I6', a, 17) > struct.unpack('>I6', b, 17) end)
    push(target, items, true)
  end
  return #members
end

-- End a registration and take over what was held under it.
local function take_over(name, charged)
  local epoch, bell = string.match(call('HGET', P .. 'workers', name) or '', '^(%d+) %d+ (.*)$')
  call('ZREM', P .. 'live', name)
  if not epoch then return 0 end
  local held = P .. 'i:' .. epoch
  local count = restore(call('SMEMBERS', held), charged)
  call('DEL', held)
  call('HDEL', P .. 'workers', name)
  if charged then call('PUBLISH', bell, 'L') end
  return count
end
