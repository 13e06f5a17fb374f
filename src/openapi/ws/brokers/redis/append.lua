-- Number, keep and hand on a message, as one act.
--
-- KEYS: meta, log, and where it has a key, that.
-- ARGV: clock, fresh epoch, 1 where restarts are trusted, meta's time to live, messages, time to
--       live, bus channel, PUBLISH or SPUBLISH, version, body, digest, the key's time to live. Times
--       in milliseconds.
-- Returns {offset, epoch, now}, or {"other"} for a key of another message.
local now = clock(ARGV[1])
local key, digest, key_ms = KEYS[3], ARGV[11], tonumber(ARGV[12])

if key then
  local known = redis.call("HMGET", key, "d", "t", "o", "e")
  if known[1] and now - tonumber(known[2]) < key_ms then
    if known[1] ~= digest then return {"other"} end
    return {tonumber(known[3]), known[4], now}
  end
end

local meta, log = KEYS[1], KEYS[2]
local messages, seconds_ms = ARGV[5], tonumber(ARGV[6])
local version, body = ARGV[9], ARGV[10]
local epoch, top = stream(meta, log, ARGV[2], ARGV[3])

-- Numbers are doubles here and would be written as 1e+15.
local offset = string.format("%.0f", top + 1)
local at = string.format("%.0f", now)

-- First what may fail: then no number is used.
redis.call("XADD", log, "MAXLEN", messages, offset .. "-" .. at, "m", version .. "\n" .. body)
redis.call("HSET", meta, "o", offset)
-- Those that have expired go, a few each time.
local function expired(entry)
  return tonumber(string.match(entry[1], "-(%d+)$")) < now - seconds_ms
end
if expired(redis.call("XRANGE", log, "-", "+", "COUNT", 1)[1]) then
  local last
  for _, entry in ipairs(redis.call("XRANGE", log, "-", "+", "COUNT", 16)) do
    if not expired(entry) then break end
    last = tonumber(string.match(entry[1], "^(%d+)-"))
  end
  redis.call("XTRIM", log, "MINID", string.format("%.0f", last + 1))
end
redis.call("PEXPIRE", meta, ARGV[4])
redis.call("PEXPIRE", log, string.format("%.0f", seconds_ms + 1000))
if key then
  redis.call("HSET", key, "d", digest, "t", at, "o", offset, "e", epoch)
  redis.call("PEXPIRE", key, key_ms)
end
redis.call(ARGV[8], ARGV[7], version .. " " .. offset .. " " .. epoch .. " " .. at .. "\n" .. body)
return {tonumber(offset), epoch, now}
