local P = KEYS[1]
local call, sub, byte, char = redis.call, string.sub, string.byte, string.char
local ITEM, MANY = 22, 5000 -- bytes of a place in a queue: uuid, generation; values that unpack() bears
