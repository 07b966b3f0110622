-- Collect what mailboxes are told, and send one message to each; who waits elsewhere is in the hash 'w'.
local mail, watched = {}, nil
local function box_of(mailbox)
  if mailbox == '' then return nil end
  local box = mail[mailbox]
  if not box then
    box = {}
    mail[mailbox] = box
  end
  return box
end

local function tell(mailbox, uuid, frame)
  local box = box_of(mailbox)
  if box then
    local size = #box
    box[size + 1], box[size + 2] = uuid, frame
  end
end

local function is_watched()
  if watched == nil then watched = call('EXISTS', P .. 'w') == 1 end
  return watched
end

local function tell_others(mailbox, uuid, frame, final)
  local boxes = call('HGET', P .. 'w', uuid)
  if not boxes then return end
  for box in string.gmatch(boxes, '[^\n]+') do
    if box ~= mailbox then tell(box, uuid, frame) end
  end
  if final then call('HDEL', P .. 'w', uuid) end
end

local function tell_all(mailbox, uuid, frame, final)
  tell(mailbox, uuid, frame)
  if is_watched() then tell_others(mailbox, uuid, frame, final) end
end

local function send_mail()
  for mailbox, box in pairs(mail) do
    if #box > 0 then call('PUBLISH', mailbox, table.concat(box)) end
  end
end
