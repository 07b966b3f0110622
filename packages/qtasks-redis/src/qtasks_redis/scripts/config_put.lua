#!lua flags=allow-oom
-- include: common clock number
-- Write values of the shared memory: the watchers' channel, then of each: name, value ('-' deletes it, '+' goes before
-- one that is written), ms that it lives ('': for ever), the revision that must still hold ('': any).
-- Return the new revision of the last, 0 when it is deleted; false when another holds.
local answer = false
for at = 2, #ARGV, 4 do
  local name, value, ttl, expected = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local key = P .. 'c:' .. name
  local there = call('GET', key)
  if expected ~= '' and expected ~= (there and string.match(there, '^%d+') or '0') then return false end
  local deletes = sub(value, 1, 1) == '-'
  answer = 0
  if there or not deletes then
    local revision = next_number('revision')
    if deletes then
      call('DEL', key)
      call('ZREM', P .. 'names', name)
    else
      local kept = revision .. ':' .. sub(value, 2)
      if ttl == '' then call('SET', key, kept) else call('SET', key, kept, 'PX', ttl) end
      call('ZADD', P .. 'names', 0, name)
      answer = tonumber(revision)
    end
    call('PUBLISH', ARGV[1], table.concat({ revision, ttl, #name, deletes and '-' or '+' }, ' ') .. '\n' .. name .. sub(value, 2))
  end
end
return answer
