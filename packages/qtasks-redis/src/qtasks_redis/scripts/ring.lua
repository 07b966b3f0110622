-- Wake one worker that sleeps on a queue; who does not listen any more is passed over.
local function ring(queue)
  while true do
    local bell = call('SPOP', P .. 'z:' .. queue)
    if not bell or call('PUBLISH', bell, 'B' .. queue) > 0 then return end
  end
end
