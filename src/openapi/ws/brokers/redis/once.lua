-- Hand on a message, unless the channel had its key.
--
-- KEYS: the key. ARGV: clock, bus channel, PUBLISH or SPUBLISH, message, digest, the key's time to
-- live in milliseconds. Returns "done", or "other" for a key of another message.
local now, key_ms = clock(ARGV[1]), tonumber(ARGV[6])
local known = redis.call("HMGET", KEYS[1], "d", "t")
if known[1] and now - tonumber(known[2]) < key_ms then
  if known[1] ~= ARGV[5] then return "other" end
  return "done"
end
redis.call("HSET", KEYS[1], "d", ARGV[5], "t", string.format("%.0f", now))
redis.call("PEXPIRE", KEYS[1], key_ms)
redis.call(ARGV[3], ARGV[2], ARGV[4])
return "done"
