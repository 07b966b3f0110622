#!lua flags=allow-oom
-- include: common ring push clock move
-- Push what is due in some queues; return ms until the next is, -1 when nothing waits for its time.
local next_due
for _, queue in ipairs(ARGV) do
  local due = move(queue)
  if due and (not next_due or due < next_due) then next_due = due end
end
ring_touched()
return next_due and math.max(math.ceil((next_due - now()) / 1000), 0) or -1
