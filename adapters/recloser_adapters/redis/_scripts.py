"""Scripts: what the server does in one step, in Lua. Each runs on keys of one slot of a cluster.

A fact is one string: its epoch, its version (0 if it was never loud), when it was written and how
long it lives (both in milliseconds, by the server's clock), and its text. What cannot be read as that
counts as no fact, and the next writer replaces it.

The hash of loud facts has the fields `version`, `life`, `f:NAME` for each fact, and `#VERSION` with
the name of the fact that was changed then, for the last versions: a worker that is a few versions
behind need not read all facts.

No script keeps anything between its runs, and none needs the clock of a worker.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from recloser.fleet import MAX_EPOCH

# How many names of changed facts the hash keeps. A worker that is further behind reads all facts.
_CHANGES = 256


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the name that the server knows it by."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", sha)


_TIME = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function whole(number) return string.format('%.0f', number) end
"""

# A text of the future was written before the clock of the server was set back. It is dated anew,
# or it would live until the clock is there again. The server's clock may also be set in small steps,
# and those are none: an age is never negative.
_FACTS = (
    _TIME
    + f"local MAX_EPOCH = {MAX_EPOCH}\n"
    + """
local function pack(fact)
  return fact.epoch .. ' ' .. whole(fact.version) .. ' ' .. whole(fact.written) .. ' '
    .. whole(fact.ttl) .. ' ' .. fact.text
end
local function read(raw)
  if not raw then return nil end
  local epoch, version, written, ttl, text =
    string.match(raw, '^(%d+) (%d+) (%d+) (%d+) (.*)$')
  if not epoch or #epoch > 16 or tonumber(epoch) > MAX_EPOCH then return nil end
  if #version > 15 or #written > 15 or #ttl > 15 then return nil end
  local fact = {epoch = epoch, version = tonumber(version), written = tonumber(written),
    ttl = tonumber(ttl), text = text}
  if fact.written > now + 1000 then
    fact.written = now
    fact.redated = true
  end
  fact.age = math.max(0, now - fact.written)
  if fact.age >= fact.ttl then return nil end
  return fact
end
local function loud(name)
  local fact = read(redis.call('HGET', KEYS[1], 'f:' .. name))
  if fact and fact.redated then redis.call('HSET', KEYS[1], 'f:' .. name, pack(fact)) end
  return fact
end
local function begin(life, hold)
  local had = redis.call('HMGET', KEYS[1], 'version', 'life')
  local version = had[1] and #had[1] <= 15 and string.match(had[1], '^%d+$') and tonumber(had[1])
  if not version or not had[2] then
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], 'version', '0', 'life', life)
    redis.call('PEXPIRE', KEYS[1], hold)
    return 0, life
  end
  return version, had[2]
end
local function hold(least)
  if redis.call('PTTL', KEYS[1]) < tonumber(least) then redis.call('PEXPIRE', KEYS[1], least) end
end
"""
)

# KEYS: loud facts. ARGV: since, a name for a new life, how long the hash is held at least (ms).
# Gives the version, the life, the time, and name and data of each fact that was changed. Where it does
# not know what was changed, it gives nothing after the time but a 0: then all facts are asked for with
# HGETALL, because the server does nothing else while Lua handles some thousand texts: 5 to 30 us each.
NEWS = Script(
    _FACTS
    + f"local CHANGES = {_CHANGES}\n"
    + """
local since = tonumber(ARGV[1])
local version, life = begin(ARGV[2], ARGV[3])
if redis.call('PTTL', KEYS[1]) < ARGV[3] / 2 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
local answer = {whole(version), life, whole(now)}
local unknown = {whole(version), life, whole(now), 0}
if since >= version then return answer end
if since == 0 or version - since > CHANGES then return unknown end
local seen = {}
for number = since + 1, version do
  local name = redis.call('HGET', KEYS[1], '#' .. whole(number))
  if not name then return unknown end
  local data = not seen[name] and redis.call('HGET', KEYS[1], 'f:' .. name)
  if data then
    answer[#answer + 1] = name
    answer[#answer + 1] = data
  end
  seen[name] = true
end
return answer
"""
)

# KEYS: loud facts. ARGV: names whose facts are none any more, or of the future: the ones are deleted,
# the others dated anew.
MEND = Script(
    _FACTS
    + """
for _, name in ipairs(ARGV) do
  if not loud(name) then redis.call('HDEL', KEYS[1], 'f:' .. name) end
end
"""
)

# KEYS: loud facts, this name's quiet fact. ARGV: name. Gives epoch, text and age (ms), or nothing.
GET = Script(
    _FACTS
    + """
local fact = loud(ARGV[1])
if not fact then
  fact = read(redis.call('GET', KEYS[2]))
  if fact and fact.redated then redis.call('SET', KEYS[2], pack(fact), 'PX', whole(fact.ttl)) end
end
if fact then return {fact.epoch, fact.text, fact.age} end
return {}
"""
)

# KEYS: loud facts, this name's quiet fact. ARGV: name, before, epoch, ttl (ms), text, whether it is
# loud, a name for a new life, how long the hash is held at least (ms), the channel, who rings.
# A name has one fact, in one of the two places: the last loud one may be followed by quiet ones, and
# stays among the loud facts then, with the version it had.
SWAP = Script(
    _FACTS
    + f"local CHANGES = {_CHANGES}\n"
    + """
local name, ttl = ARGV[1], tonumber(ARGV[4])
local was_loud = loud(name)
local old = was_loud or read(redis.call('GET', KEYS[2]))
if old and old.epoch ~= ARGV[2] then return 0 end
local new = {epoch = ARGV[3], version = 0, written = now, ttl = ttl, text = ARGV[5]}
if ARGV[6] == '1' then
  new.version = begin(ARGV[7], ARGV[8]) + 1
  redis.call('HSET', KEYS[1], 'version', whole(new.version), '#' .. whole(new.version), name,
    'f:' .. name, pack(new))
  redis.call('HDEL', KEYS[1], '#' .. whole(new.version - CHANGES))
  redis.call('DEL', KEYS[2])
  hold(whole(math.max(ttl, tonumber(ARGV[8]))))
  -- A user who may not publish has no bell. The fact is set all the same.
  redis.pcall('PUBLISH', ARGV[9], ARGV[10])
elseif was_loud then
  new.version = was_loud.version
  redis.call('HSET', KEYS[1], 'f:' .. name, pack(new))
  hold(ARGV[4])
else
  redis.call('SET', KEYS[2], pack(new), 'PX', ARGV[4])
end
return 1
"""
)

# KEYS: the box. ARGV: text, how many texts it holds, for how long (ms).
SEND = Script(
    _TIME
    + """
redis.call('RPUSH', KEYS[1], whole(now) .. ' ' .. ARGV[1])
redis.call('LTRIM', KEYS[1], -ARGV[2], -1)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
"""
)

# KEYS: the box. ARGV: how long a text lives (ms). Gives each text with its age (ms).
RECEIVE = Script(
    _TIME
    + """
local texts = redis.call('LRANGE', KEYS[1], 0, -1)
if #texts == 0 then return {} end
redis.call('DEL', KEYS[1])
local found = {}
for _, raw in ipairs(texts) do
  local written, text = string.match(raw, '^(%d+) (.*)$')
  if written and #written <= 15 then
    local age = math.max(0, now - written)
    if age < tonumber(ARGV[1]) then
      found[#found + 1] = text
      found[#found + 1] = age
    end
  end
end
return found
"""
)

# A worker that would live for ten times as long as the one that asks was last heard of before the
# clock of the server was set back. If it is alive, its next beat brings it back.
_BEATS = (
    _TIME
    + """
local function forget(dead)
  if #dead == 0 then return end
  for _, worker in ipairs(dead) do
    redis.call('ZREM', KEYS[1], worker)
    redis.call('HDEL', KEYS[2], worker)
  end
end
"""
)

# KEYS: until when each worker lives, their texts. ARGV: worker, text, ttl (ms). Gives their number.
BEAT = Script(
    _BEATS
    + """
local ttl = tonumber(ARGV[3])
forget(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now)))
forget(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. whole(now + 10 * ttl), '+inf'))
redis.call('ZADD', KEYS[1], whole(now + ttl), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for place = 1, 2 do
  if redis.call('PTTL', KEYS[place]) < ttl then redis.call('PEXPIRE', KEYS[place], ARGV[3]) end
end
return redis.call('ZCARD', KEYS[1])
"""
)

# KEYS: as above. ARGV: worker.
LEAVE = Script(_BEATS + "forget({ARGV[1]})")

# KEYS: as above. Gives each worker with its text.
WORKERS = Script(
    _TIME
    + """
local found = {}
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. whole(now), '+inf')) do
  found[#found + 1] = worker
  found[#found + 1] = redis.call('HGET', KEYS[2], worker) or ''
end
return found
"""
)
