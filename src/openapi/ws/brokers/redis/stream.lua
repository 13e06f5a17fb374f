-- What every script begins with.
--
-- Where there is no memory left, the server refuses the first write of a script that takes some, and
-- none behind a write that takes none. So what sets a time to live or deletes comes last.

-- Milliseconds since the epoch of the clock: the caller's, or this server's.
local function clock(given)
  if given ~= "" then return tonumber(given) end
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The epoch and the top of a stream, which begins here if there is none.
--
-- meta: e epoch, o offset of the newest message, r the run of the server that wrote it last.
-- A server that ran anew since then may have lost the newest messages, and would give their numbers
-- to others: so the epoch is a new one, and the numbers go on.
local function stream(meta, log, fresh, run)
  local known = redis.call("HMGET", meta, "e", "o", "r")
  local epoch, top = known[1], tonumber(known[2] or "0")
  if not epoch then
    epoch = fresh
    redis.call("HSET", meta, "e", epoch, "o", 0, "r", run)
    -- Evicted or lost: messages that may still be there belong to the old epoch.
    redis.call("DEL", log)
  elseif run ~= "" and known[3] ~= run then
    epoch = fresh
    redis.call("HSET", meta, "e", epoch, "r", run)
  end
  return epoch, top
end
