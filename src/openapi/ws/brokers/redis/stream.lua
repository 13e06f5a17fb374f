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

-- What names the line of data that this server continues: another one whenever it became a primary,
-- by being started or promoted.
local function lineage()
  local line = string.match(redis.call("INFO", "replication"), "master_replid:(%x+)")
  return line or string.match(redis.call("INFO", "server"), "run_id:(%x+)")
end

-- The epoch and the top of a stream, which begins here if there is none.
--
-- meta: e epoch, o offset of the newest message, r the lineage in which it was used last.
-- Where another line begins, the newest messages may be lost, and their numbers would be given to
-- others: so the epoch is a new one, and the numbers go on. Unless all lines are trusted.
local function stream(meta, log, fresh, trusted)
  local line = trusted == "1" and "" or lineage()
  local known = redis.call("HMGET", meta, "e", "o", "r")
  local epoch, top = known[1], tonumber(known[2] or "0")
  if not epoch then
    epoch = fresh
    redis.call("HSET", meta, "e", epoch, "o", 0, "r", line)
    -- Evicted or lost: messages that may still be there belong to the old epoch.
    redis.call("DEL", log)
  elseif line ~= "" and known[3] ~= line then
    epoch = fresh
    redis.call("HSET", meta, "e", epoch, "r", line)
  end
  return epoch, top
end
