-- Who is on a channel: enter, leave, refresh, members.
--
-- KEYS: a hash, and a sorted set of the connections by when they expire.
-- The hash: c:CONNECTION -> id of the member; m:ID -> what is said of them; n:ID -> how many
-- connections they have; o:ID -> in which order they came; "last" -> the last of these numbers;
-- "size" -> how many connections there are.
-- A member is there until told, though all of their connections have expired.
--
-- ARGV: clock, what to do, and for
--   enter    time to live, then connection, id, what is said, …  returns ids of the new, each with
--            the number of connections
--   leave    connections …                                       returns the members who are gone
--   refresh  time to live, then connections …                    returns {lost, members expired}
--   members                                                      returns them with their numbers
-- Members are returned as what is said of them. Times in milliseconds.
local now, act = clock(ARGV[1]), ARGV[2]
local hash, expiries = KEYS[1], KEYS[2]

local function call(...) return redis.call(...) end

-- One of the two keys may have been evicted: who is in one of them only is not there.
local function leave(connection, gone)
  local id = call("HGET", hash, "c:" .. connection)
  call("ZREM", expiries, connection)
  if not id then return end
  call("HDEL", hash, "c:" .. connection)
  call("HINCRBY", hash, "size", -1)
  if call("HINCRBY", hash, "n:" .. id, -1) <= 0 then
    gone[#gone + 1] = call("HGET", hash, "m:" .. id)
    call("HDEL", hash, "m:" .. id, "n:" .. id, "o:" .. id)
  end
end

-- Nobody left: nothing is kept. Otherwise all of it outlives the last to expire.
local function settle(ttl)
  if call("ZCARD", expiries) == 0 then
    call("DEL", hash, expiries)
  elseif ttl then
    for _, key in ipairs({hash, expiries}) do
      if call("PTTL", key) < 2 * ttl then
        call("PEXPIRE", key, string.format("%.0f", 2 * ttl))
      end
    end
  end
end

if act == "enter" then
  local ttl, new = tonumber(ARGV[3]), {}
  local ignored = {}
  for n = 4, #ARGV, 3 do
    local connection, id, said = ARGV[n], ARGV[n + 1], ARGV[n + 2]
    local before = call("HGET", hash, "c:" .. connection)
    if before and before ~= id then leave(connection, ignored) end
    if before ~= id then
      call("HSET", hash, "c:" .. connection, id)
      call("HINCRBY", hash, "size", 1)
      if call("HINCRBY", hash, "n:" .. id, 1) == 1 then
        call("HSET", hash, "o:" .. id, call("HINCRBY", hash, "last", 1))
        new[#new + 1] = id
      end
    end
    call("HSET", hash, "m:" .. id, said)
    call("ZADD", expiries, string.format("%.0f", now + ttl), connection)
  end
  local result = {}
  for _, id in ipairs(new) do
    local count = call("HGET", hash, "n:" .. id)
    if count then
      result[#result + 1] = call("HGET", hash, "m:" .. id)
      result[#result + 1] = tonumber(count)
    end
  end
  settle(ttl)
  return result
elseif act == "leave" then
  local gone = {}
  for n = 3, #ARGV do leave(ARGV[n], gone) end
  settle()
  return gone
elseif act == "refresh" then
  local ttl, expired, lost = tonumber(ARGV[3]), {}, {}
  for _, connection in ipairs(call("ZRANGE", expiries, "-inf", string.format("%.0f", now), "BYSCORE")) do
    leave(connection, expired)
  end
  if tonumber(call("HGET", hash, "size") or "0") ~= call("ZCARD", expiries) then
    -- Those that only the hash has would never expire.
    for _, field in ipairs(call("HKEYS", hash)) do
      local connection = string.match(field, "^c:(.*)$")
      if connection and not call("ZSCORE", expiries, connection) then leave(connection, expired) end
    end
  end
  for n = 4, #ARGV do
    if call("ZSCORE", expiries, ARGV[n]) and call("HGET", hash, "c:" .. ARGV[n]) then
      call("ZADD", expiries, string.format("%.0f", now + ttl), ARGV[n])
    else
      leave(ARGV[n], expired)
      lost[#lost + 1] = ARGV[n]
    end
  end
  settle(ttl)
  return {lost, expired}
end

-- members
local there = call("ZRANGE", expiries, string.format("(%.0f", now), "+inf", "BYSCORE")
local counts, ids = {}, {}
for _, connection in ipairs(there) do
  local id = call("HGET", hash, "c:" .. connection)
  if id then
    if not counts[id] then
      counts[id] = 0
      ids[#ids + 1] = id
    end
    counts[id] = counts[id] + 1
  end
end
local result = {}
for _, id in ipairs(ids) do
  result[#result + 1] = call("HGET", hash, "m:" .. id)
  result[#result + 1] = counts[id]
  result[#result + 1] = tonumber(call("HGET", hash, "o:" .. id))
end
return result
