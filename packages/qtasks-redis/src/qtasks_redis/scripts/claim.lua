-- Take a unique key for a task; return the uuid of the task that has it, nil when it is ours now.
-- One whose task has ended, or is gone, is free: it may have been left behind.
local function claim(unique, uuid, ttl)
  local key = P .. 'u:' .. unique
  local holder = call('GET', key)
  if holder and holder ~= uuid then
    local state = call('GETRANGE', P .. 'r:' .. holder, 0, 0)
    if state ~= '' and state ~= 'F' and state ~= 'D' then return holder end
  end
  if ttl == '' then call('SET', key, uuid) else call('SET', key, uuid, 'PX', ttl) end
end

local function free(unique, uuid)
  if unique ~= '' and call('GET', P .. 'u:' .. unique) == uuid then call('DEL', P .. 'u:' .. unique) end
end
