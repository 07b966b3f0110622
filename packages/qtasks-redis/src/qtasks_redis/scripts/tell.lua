-- Collect what mailboxes are told, and send one message to each; who waits elsewhere is in the hash 'w'.
local mail, others = {}, nil
local function tell(mailbox, uuid, frame)
  local box = mail[mailbox]
  if not box then
    box = {}
    mail[mailbox] = box
  end
  box[#box + 1] = uuid
  box[#box + 1] = frame
end

local function tell_all(mailbox, uuid, frame, final)
  if mailbox ~= '' then tell(mailbox, uuid, frame) end
  if others == nil then others = call('EXISTS', P .. 'w') == 1 end
  if others then
    local boxes = call('HGET', P .. 'w', uuid)
    if boxes then
      for box in string.gmatch(boxes, '[^\n]+') do
        if box ~= mailbox then tell(box, uuid, frame) end
      end
      if final then call('HDEL', P .. 'w', uuid) end
    end
  end
end

local function send_mail()
  for mailbox, box in pairs(mail) do call('PUBLISH', mailbox, table.concat(box)) end
end
