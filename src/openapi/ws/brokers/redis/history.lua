-- Read messages of a stream.
--
-- KEYS: meta, log.
-- ARGV: clock, fresh epoch, 1 where restarts are trusted, meta's time to live, messages, time to
--       live, the epoch and the offset to go on from ("" where there is none), limit, 1 to read
--       backwards, and how many bytes are enough.
-- Returns {top, epoch, now, id, body, id, body, …}.
local now = clock(ARGV[1])
local epoch, top = stream(KEYS[1], KEYS[2], ARGV[2], ARGV[3])
redis.call("PEXPIRE", KEYS[1], ARGV[4])
local oldest_kept, since_ms = top - tonumber(ARGV[5]) + 1, now - tonumber(ARGV[6])
local limit, backwards = tonumber(ARGV[9]), ARGV[10] == "1"
local result = {top, epoch, now}

local since = tonumber(ARGV[8])
if limit == 0 or (ARGV[8] ~= "" and ARGV[7] ~= epoch) then return result end

local function id(offset) return string.format("%.0f", math.max(0, offset)) end

local function read(first, last, count)
  if backwards then return redis.call("XREVRANGE", KEYS[2], last, first, "COUNT", count) end
  return redis.call("XRANGE", KEYS[2], first, last, "COUNT", count)
end

local enough, bytes = tonumber(ARGV[11]), 0
local count = 4 -- few at a time, and more while they are small
local low, high = oldest_kept, top
if since and backwards then high = math.min(high, since - 1) end
if since and not backwards then low = math.max(low, since + 1) end
low = math.max(low, 1)
while low <= high and limit > 0 do
  local page = read(id(low), id(high), math.min(limit, count))
  if #page == 0 then break end
  for _, each in ipairs(page) do
    local offset, sent = string.match(each[1], "^(%d+)-(%d+)$")
    if tonumber(sent) >= since_ms then
      result[#result + 1] = each[1]
      result[#result + 1] = each[2][2]
      limit = limit - 1
      bytes = bytes + #each[2][2]
      if bytes >= enough then return result end
    elseif backwards then
      return result -- those before it are older
    end
    if backwards then high = tonumber(offset) - 1 else low = tonumber(offset) + 1 end
  end
  count = math.min(256, count * 4)
end
return result
