"""Every size, rate and time bound, with its reason.

Sizes are bytes, times carry their unit in the name.
"""

from __future__ import annotations

from typing import Final

# --- entries ---------------------------------------------------------------------------
BODY_MAX: Final = 1024
"""The largest body in use, a confirm of six lots, is under 650 bytes."""
PAYLOAD_MAX: Final = 4096
"""Text, terms and a finer cell; pictures are fetched on demand, not chained."""
SEALED_TO_MAX: Final = 8
"""Readers of one sealed text: the listers of LOTS_PER_PROPOSE_MAX lots, the taker, one to spare;
each costs 90 bytes of PAYLOAD_MAX."""
REFS_MAX: Final = 8
"""A confirm names its propose and at most six reserves; one is spare."""
LOTS_PER_PROPOSE_MAX: Final = 6
"""Keeps a confirm under BODY_MAX and a trade readable."""
FACTS_MAX: Final = 24
"""A propose of six lots carries 2 + 3 x 6 facts."""
AMOUNT_MAX: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""
SEQ_MAX: Final = 2**32 - 1
"""A chain's sequence number travels in four bytes in head announcements."""
AT_MS_MAX: Final = 2**48
"""The year 10889: a bound that keeps sums of times inside 64 bits."""
TEXT_MAX: Final = 1500
"""Characters of a text in a payload: a page, and in most scripts under PAYLOAD_MAX."""
NESTING_MAX: Final = 8
"""Payloads are maps of lists of values; deeper nesting only costs stack."""
CONTAINER_MAX: Final = 512
"""Members of one map or list in a payload."""

# --- gossip ----------------------------------------------------------------------------
GOSSIP_BUNDLE_MAX: Final = 16 * 1024
"""One gossip message; fits one mux frame, and a bad one wastes little."""
GOSSIP_RECORDS_MAX: Final = 16
"""Records in one gossip message: a burst becomes one message, not sixteen."""
GOSSIP_RPC_MAX: Final = 64 * 1024
"""One pubsub RPC from a peer; py-libp2p starts a task for each message in it."""
GOSSIP_PEER_RATE_PER_S: Final = 20
"""Messages a peer may bring each second: above what two cores can relay to thirty nodes."""
GOSSIP_PEER_BURST: Final = 100
GOSSIP_PEERS_METERED_MAX: Final = 1024
"""Buckets kept, one per peer; the oldest goes first, and its peer starts afresh."""
GOSSIP_AUTHOR_RATE_PER_S: Final = 8
"""Messages of one author each second: twice what an honest node publishes."""
GOSSIP_AUTHOR_BURST: Final = 64
GOSSIP_AUTHORS_METERED_MAX: Final = 4096
"""As GOSSIP_PEERS_METERED_MAX, for vouched authors."""
GOSSIP_CROWD_RATE_PER_S: Final = 4
"""Messages each second of all unvouched authors of a cell together; sync brings the rest, within
their quotas."""
GOSSIP_CROWD_BURST: Final = 64
GOSSIP_ADMIT_QUEUE_MAX: Final = 64
"""Bundles between gossip and storage; what finds no room comes by sync."""
GOSSIP_PUBLISH_PER_S: Final = 4
"""Own publishes each second; py-libp2p drops own messages past 10/s a topic without a word."""
FUTURE_MAX_S: Final = 120
"""A gossiped entry dated further ahead waits for sync."""
PAST_MAX_S: Final = 15 * 60
"""Older entries come by sync; gossip is for news."""

# --- sync ------------------------------------------------------------------------------
FRAME_MAX: Final = 256 * 1024
"""One sync frame; a liar wastes at most one."""
RUN_MAX: Final = 256
"""Consecutive entries of one author that one signature may stand for."""
CREDIT_MAX: Final = 4 * 1024 * 1024
"""Bytes of entries under way to a peer; yamux alone would let a slow reader cost 16 MiB."""
HEADS_PER_FRAME_MAX: Final = 4096
"""44 bytes each: under FRAME_MAX."""
WANTS_PER_FRAME_MAX: Final = 1024
ENTRIES_PER_FRAME_MAX: Final = 2048
"""The smallest entry is over 128 bytes: no frame holds more."""
CREDIT_GRANT_MIN: Final = 64 * 1024
"""A grant of a byte at a time would be a flood of frames that each look honest."""
INCOMING_MAX: Final = FRAME_MAX + 128 * 1024
"""Unread bytes held for a peer: one frame that is not whole yet, and two reads of 64 KiB."""
OUTGOING_MAX: Final = FRAME_MAX
"""Above this the session builds no further frame: what waits is authors, not bytes."""
SMALL_FRAME: Final = 16
SMALL_FRAMES_MAX: Final = 64
"""Frames below SMALL_FRAME in a row; an honest side sends LISTED and DONE, once each."""
UNKNOWN_FRAMES_MAX: Final = 256
"""Frames of kinds not read here, in one session: its sender knows our feature bits."""
WANTS_OPEN_MAX: Final = 16_384
"""Ranges a peer may have open with us, one per author: 200 bytes each. Who replicates over
10,000 authors needs the trie first."""
CHANGES_EVERY: Final = 32
"""Head changes between two CHANGES: so many are named once more, at worst, after a cut."""
LACKING_MAX: Final = 4096
"""Heads remembered of a peer that went away before they were fetched; with more, all that it
holds is named again when it comes back."""
PEERS_HEARD_MAX: Final = 256
"""Peers that are told, when they come back, how far they were heard; the oldest goes first."""
PEER_HEADS_MAX: Final = 65_536
"""Heads remembered of a peer; further authors are passed over until some are forgotten."""
RUNS_BETWEEN_LOOKS: Final = 8
"""Runs read from the store between two looks at the network: a few milliseconds."""
SCOPE_CELLS_MAX: Final = 1024
"""Topic cells that a side may want to hear of: its own ring of seven, and a long way's."""
SCOPE_AUTHORS_MAX: Final = 1024
"""Authors that a side may name besides; each is named back with its head, 45 kB of all."""
FOLLOWED_MAX: Final = 512
"""Authors followed by name: half of SCOPE_AUTHORS_MAX, the rest is for parties of own trades."""
SCOPES_MAX: Final = 256
"""SCOPEs of one session, since each may cost a look at every head; more need a new session,
and so a handshake."""
UNPLACED_MAX: Final = 4096
"""Entries taken of an author on a neighbour's word that it speaks in a cell of ours; whoever
has said more elsewhere, before it came here, is to be followed by name."""
SPOKEN_CELLS_MAX: Final = 64
"""Topic cells remembered of an author, those it spoke in last: a carrier between towns has a
dozen, and each costs a row."""
TICK_MIN_S: Final = 0.02
"""How long news for a neighbour gather after the first: at 50 frames a second each, forty
neighbours take the 2,000 that two cores can write."""
TICK_MAX_S: Final = 0.25
"""As long as that on a machine that is behind; people do not notice."""
SYNC_STALL_S: Final = 1.0
"""A head that was named and has not come after this is fetched from whoever named it."""
STATEMENTS_PER_FRAME_MAX: Final = 64
"""Root statements in one frame, each of which costs a signature check."""
STATEMENTS_TOLD_MAX: Final = 1024
"""Heals told to a neighbour at the start of a session. Innocent forks are rare; with more, the
older ones travel in chains alone."""
HEALS_WAITING_MAX: Final = 64
"""Heals kept for a session that are of chains not held yet."""
PAYLOADS_ASKED_MAX: Final = 256
"""Payloads asked for at a time: 1 MiB of answers at most."""
PAYLOADS_PER_FRAME_MAX: Final = 32
"""Payloads in one frame: half of FRAME_MAX at most."""
PAYLOADS_STALL_S: Final = 10
"""A neighbour that leaves an ASK unanswered for so long is not asked again in the session."""
OWN_HEAD_WAIT_S: Final = 3
"""A neighbour that came just now is given so long to say whether it holds newer own entries."""
OWN_HEAD_GIVEN_WITHIN_S: Final = 60
"""A neighbour that names newer own entries and gives none for so long has none."""
OWN_HEAD_DOUBTED_S: Final = 3600
"""And is not believed for so long: a liar holds up a minute of each hour, not all of it."""
OWN_HEAD_CLAIMS_MAX: Final = 1024
"""Peers of whom it is remembered since when they have named such, whether they come back or not."""
REFILL_EVERY_S: Final = 1.0
"""How often what is held is made more whole, while there is news."""
SIGNATURES_CHECKED_PER_S: Final = 256
"""Own signatures of entries within a run that are verified in the background: about 2 % of a
core, and ten minutes for 150,000."""
REFUSED_COPIES_MAX: Final = 4096
"""Entries remembered of which a neighbour had no more than we have; with more it is not asked
again in the session."""
HEALED_MAX: Final = 1024
"""Healed chains whose kept branch is looked for each SYNC_STALL_S; the oldest goes first, and
comes with the next session."""
SYNC_RETRY_MAX_S: Final = 10
"""The longest pause before sync with a connected peer is tried again."""
PROOF_ELEMENTS_MAX: Final = 3
"""Every breach is shown by at most three signed entries."""
PROOF_CONTEXT_MAX: Final = 64
"""Entries that a breach of a trade is judged by: propose, offers, and causes with their own."""
PROOF_MAX: Final = 900_000
"""Three runs of RUN_MAX bodies and PROOF_CONTEXT_MAX beside: nobody can grow a proof past it by
signing every 256th entry only."""
PROOFS_PER_SESSION_MAX: Final = 4_096
"""Proofs told in one session: more liars than anybody holds chains of. The rest waits for the next
session; each costs its reader three signatures at most."""
PROOF_ARRIVES_S: Final = 60
"""A proof given to a stream that breaks within this may be lost, and is sent again."""
STREAM_WRITE_MAX: Final = 65_507
"""Larger single writes are split by the muxer into frames that noise splits again."""

# --- checkpoints and witnesses ---------------------------------------------------------
TREE_SIZE_MAX: Final = 2**63 - 1
"""The largest size that a checkpoint may name; SQLite's largest integer, too."""
PROOF_HASHES_MAX: Final = 63
"""Hashes of one inclusion or consistency proof: C2SP's bound, and enough for TREE_SIZE_MAX."""
NOTE_MAX: Final = 128 * 1024
"""One signed note: C2SP asks for room for 16 signatures, which may be of 5 kB each."""
NOTE_SIGNATURES_MAX: Final = 64
"""Signature lines of one note; each that names a known key costs a verification."""
KEY_NAME_MAX: Final = 255
"""Bytes of a key's name; C2SP's newer cosignatures have one byte for the length."""
ADD_CHECKPOINT_MAX: Final = NOTE_MAX + 4 * 1024
"""One request to a witness: a note, and 63 hashes of 45 bytes before it."""
WITNESS_REPLY_MAX: Final = 16 * 1024
"""One answer of a witness: a few signature lines of at most 5 kB."""
COSIGNATURE_AHEAD_MAX_S: Final = 120
"""A cosignature dated further ahead by the own clock is not counted yet."""
CLAIM_NOTE_MAX: Final = 1024
"""A chain's checkpoint with its author's line alone, which takes about 330 bytes."""
POLICY_MAX: Final = 64 * 1024
"""Bytes of a policy file: a hundred witnesses with their comments."""
POLICY_NAMES_MAX: Final = 256
"""Witnesses and groups of one policy; C2SP asks for room for 32 of each."""
CHECKPOINT_QUESTION_MAX: Final = 128
"""One question about checkpoints: an origin of 79 bytes, a size of ten."""
CHECKPOINT_ANSWER_MAX: Final = 16 * 1024
"""A checkpoint with NOTE_SIGNATURES_MAX lines of ours, or a key."""
WITNESS_PEER_RATE_PER_S: Final = 5
"""Requests and questions a peer may bring each second; an answer costs up to 5 ms."""
WITNESS_PEER_BURST: Final = 50
"""A trade of six lots asks a witness two or three times for each."""
WITNESS_PEERS_METERED_MAX: Final = 1024
"""Buckets kept, one per peer; the oldest goes first, and its peer starts afresh."""
WITNESS_STREAMS_PER_PEER_MAX: Final = 4
"""Requests of one peer that are read at once: 540 kB."""
WITNESS_TRIES_MAX: Final = 8
"""Looks at what is stored for a chain; each further one means that another was faster."""
ASK_WITHIN_S: Final = 10
"""One request and its answer, at either end: a round trip, a sync to disk."""
ADD_TRIES_MAX: Final = 6
"""Requests to one witness in a row: two to agree on a size, and a second for sync."""
QUORUM_RETRY_FIRST_S: Final = 0.25
"""The first pause before witnesses are asked again: sync has mostly brought the entries by then."""
QUORUM_RETRY_MAX_S: Final = 5
"""The longest pause before witnesses are asked again."""
QUORUM_WANTED_S: Final = 60
"""How long cosignatures are gathered since they were last wanted: a trade's desk wants them every
DESK_CHECK_S while it waits."""
QUORUM_CHAINS_MAX: Final = 256
"""Chains for which cosignatures are gathered at once; other trades wait for their turn."""
WITNESS_KNOWN_S: Final = 60
"""How long a peer's word about its witness key is good."""
FRESH_WITHIN_S: Final = 120
"""Before paying in advance: how old a cosignature may be, which is how far clocks may differ."""

# --- network ---------------------------------------------------------------------------
STREAM_READ_MAX: Final = 64 * 1024
"""One read from a stream; the muxer would hand out megabytes at once."""
STREAM_WINDOW_MAX: Final = 4 * 1024 * 1024
"""Unread bytes of one stream that a peer may be given credit for; yamux would grow to 16 MiB."""
STREAM_UNREAD_MAX: Final = 16 * 1024 * 1024
"""Unread bytes of all streams of one connection; yamux does not hold a peer to its window."""
STREAMS_PER_PEER_MAX: Final = 64
"""Streams that a peer has open to us; sync, trade and gossip need under ten."""
STREAM_STALL_S: Final = 20
"""A peer that leaves a write without window for so long is not reading: the stream is reset."""
STREAM_LINGER_S: Final = 10
"""How long a stream whose handler is done waits for the peer's end before it is reset."""
STREAM_NEGOTIATE_S: Final = 10
"""Agreeing on a stream's protocol is one round trip."""
CONNECTIONS_MAX: Final = 128
"""Each costs about 100 kB and a share of the gossip; a neighbourhood needs a few dozen."""
HANDSHAKES_PER_ADDRESS_MAX: Final = 16
"""Idle connections from one address must not keep honest peers from shaking hands."""
HANDSHAKES_MAX: Final = 128
HANDSHAKE_S: Final = 10
"""A handshake is three messages; two busy cores need at most seconds."""
DIAL_S: Final = 10
PING_EVERY_S: Final = 5
PING_WITHIN_S: Final = 10
"""A frozen peer is noticed after PING_EVERY_S + PING_WITHIN_S; a busy one answers within six."""
REDIAL_FIRST_S: Final = 0.5
REDIAL_MAX_S: Final = 60
"""A neighbour that was away for the night is back within a minute of its return."""
KEPT_PEERS_MAX: Final = 64
"""Peers that are redialled."""
KEPT_ADDRESSES_PER_PEER_MAX: Final = 4
LEAVE_WITHIN_S: Final = 1.5
"""Leaving the network politely; after that the sockets are simply closed."""
NET_EVENTS_MAX: Final = 256
"""Comings and goings nobody has looked at; Network.peers() is always the truth."""
GOSSIP_QUEUE_MAX: Final = 128
"""RPCs under way to one peer; py-libp2p's 32 overflow without a word in a burst."""
GOSSIP_SEEN_S: Final = 120
"""How long a message id is remembered; copies arrive within seconds."""
GOSSIP_SUBSCRIPTIONS_MAX: Final = 2000
"""Topics of one peer; a wide search subscribes to some hundred cells."""
GOSSIP_TOPIC_MAX: Final = 128
"""Bytes of a topic's name."""
GOSSIP_CONTROL_MAX: Final = 128
"""Control messages, and message ids in them, that one RPC may carry."""
SCORE_REJECT: Final = 10
"""What a rejected gossip message or broken RPC costs its sender."""
SCORE_MUTE: Final = -50
"""From here on a peer's gossip is ignored, and it is not let in again."""
SCORE_CUT: Final = -100
"""Ten faults within the hour: the connection is closed."""
SCORE_HALF_LIFE_S: Final = 3600
"""A cut peer may come back after an hour; an honest node's bug is mended by then or never."""
SCORES_MAX: Final = 4096
"""Peers whose score is remembered, for SCORE_KEPT_S after the last fault."""
SCORE_KEPT_S: Final = 24 * 3600
MDNS_FOUND_MAX: Final = 64
"""Neighbours found on the home network that nobody has dialled yet."""
MDNS_ADDRESSES_MAX: Final = 8
"""Addresses taken from one mDNS answer."""

# --- what people type, and files --------------------------------------------------------
TYPED_MAX: Final = 120
"""Characters of an amount, price, time or code: nobody types more, and each is scanned."""
IMPORT_FILE_MAX: Final = 64 * 1024 * 1024
"""A file of a million products; JSON is held in memory while it is read."""
IMPORT_PAY_MAX: Final = 8
"""Ways of paying taken from one entry."""
BUNDLE_MAX: Final = 64 * 1024 * 1024
"""A bundle: a lot of a hundred thousand entries; it is held in memory while it is checked."""
BUNDLE_PROOFS_MAX: Final = 256
"""Proofs in one bundle: one for each party of a trade, or an author's breaches of trades."""
BUNDLE_TRADES_MAX: Final = 10_000
"""Trades looked at for breaches of one author, the newest first: some seconds."""

# --- time ------------------------------------------------------------------------------
CLOCK_SKEW_MAX_S: Final = 60
"""A node whose clock is further from its peers' median does not append without a yes."""
CLOCK_PEERS_MAX: Final = 64
"""Peers whose clocks are remembered; a median of more says no more."""
CLOCK_JUMP_MAX_S: Final = 24 * 3600
"""One entry dated years ahead would silence the chain for ever."""
PROPOSE_SKEW_MAX_S: Final = 120
"""A lister refuses a propose dated further from its own clock, since price depends on time."""
RESPOND_WITHIN_S: Final = 120
CONFIRM_WITHIN_S: Final = 15 * 60
HANDOVER_WITHIN_S: Final = 48 * 3600
"""Until when goods change hands where the offer names no window."""
HANDOVER_GRACE_S: Final = 15 * 60
DESK_CHECK_S: Final = 5
"""How often deadlines of the own open trades are looked at."""
TRADES_WATCHED_MAX: Final = 10_000
"""Own open trades looked at; each costs a fold every DESK_CHECK_S."""
TRADES_ASKED_MAX: Final = 256
"""Open proposes of others without an answer so far; anybody may write them, so they have no
share in the bound above."""
LOT_ENTRIES_BEHIND_MAX: Final = 256
"""Entries of one lot, the newest, among which an adjust is looked for that answers a return or a
complaint: such an answer comes soon, and a busy lot must not make each look at a trade slow."""
TRADE_STEPS_MAX: Final = 64
"""Entries of one party in one trade that count, the first ones: six lots with every step, and
as many again. Telling faults takes longer by the cube of it."""
HANDOVER_AHEAD_MAX_S: Final = 366 * 24 * 3600
"""How late a hand-over may be agreed: until then nothing frees what was set aside."""
DELIVERED_AFTER_S: Final = 24 * 3600
"""A goods receipt that differs counts when dated at most this long after the hand-over."""
DISPUTE_WITHIN_S: Final = 72 * 3600

# --- places, the book and matching -----------------------------------------------------
TOPIC_RESOLUTION: Final = 5
"""A topic is some 250 km2: peers learn no more than that of where a node is."""
TOPIC_RING_K: Final = 1
"""The own topic and its neighbours: a home beside an edge hears the other side."""
CELL_RESOLUTION_MIN: Final = TOPIC_RESOLUTION
"""A lot coarser than its topic would belong to several."""
CELL_RESOLUTION_MAX: Final = 15
"""H3's finest, under a square metre; a shop may tell its door."""
RING_K_MAX: Final = 24
"""1,801 cells: beyond that a pass over all lots is cheaper than asking cell by cell."""
COVERS_REMEMBERED: Final = 4096
"""Surroundings kept, some 80 cells each: what a node's own topics ask for, in 16 MiB."""
CATEGORY_DEPTH_MAX: Final = 4
"""A lot is indexed under each level of its category, so every level costs memory."""
BOOK_LOTS_MAX: Final = 2**22
"""Lots in one book: 1.2 GiB at about 300 bytes each."""
DEFAULT_RADIUS_M: Final = 3_000
"""Who names no radius goes this far: forty minutes on foot, ten by bicycle."""
MATCHES_MAX: Final = 1_000
"""Matches of one question: more than anybody reads, or a page shows."""

SUGGEST_LOTS_MAX: Final = 24
"""Lots that are shared out together: a street's worth of rivals, in well under a second."""
SUGGEST_EACH_MAX: Final = 16
"""Matches of each of them that count."""

WAY_POINTS_MAX: Final = 4096
"""Points of one way, 100 m apart: 400 km; on a longer way they lie farther apart."""
WAY_FIXES_MAX: Final = 16_384
"""Fixes of a track that is read: half a day at one each three seconds."""
RIDES_MAX: Final = 32
"""Rides planned at once; each new lot is held against every one."""
COMMUTES_MAX: Final = 16
"""Habits learnt from own tracks, those of the most trips."""
TRIPS_MAX: Final = 10_000
"""Trips from which habits are learnt: each is held against every habit found so far."""
RIDE_PLACES_MAX: Final = 16
"""Places that a ride leads by."""
RIDE_DETOUR_MAX_S: Final = 2 * 3600
RIDE_LOTS_MAX: Final = 4096
"""Lots beside one way that are looked at, at a millisecond each."""
WISH_CELLS_MAX: Final = 16
"""Requests that one published wish along a way is made of: a hundred kilometres and more."""

# --- trust and quotas --------------------------------------------------------------------
TRUST_DEPTH: Final = 4
"""Vouches between an own device and who is let in by them: a friend's friend's neighbour."""
VOUCHED_ENTRIES: Final = 2**20
"""Entries taken of one who is vouched for at first hand: years of a shop's, a gigabyte or so."""
VOUCHES_MAX: Final = 1024
"""Vouches of one author that count; their shares are slight by then."""
VOUCHES_READ_MAX: Final = 4 * VOUCHES_MAX
"""Vouches of one author that are read, taken back ones among them: whoever gives and takes back
a million would have every neighbour read them all, each second."""
UNVOUCHED_ENTRIES: Final = 64
"""Entries taken of an author nobody here vouches for: some offers, a trade or two."""
UNVOUCHED_BYTES: Final = 64 * 1024
"""Bytes of those entries with their payloads."""
CROWD_BYTES: Final = 16 * 1024 * 1024
"""What all unvouched authors of a topic cell hold together; the oldest makes room."""
CHAIN_WEIGHT_MIN: Final = 2 * 1024
"""What a chain of the crowd counts at least: its head is in memory too."""
FORGOTTEN_MAX: Final = 16_384
"""Chains remembered as let go of, so that they are not fetched again at once."""
STATEMENTS_MAX: Final = 65_536
"""Root statements kept about whomever; with more, those go that came with forgotten chains."""
FORGOTTEN_FOR_S: Final = 3600
FORGET_SLICE: Final = 64
"""Chains let go of in one transaction: some 20 ms in which nothing else is written."""
STRANGERS_PER_S: Final = 0.2
"""Further strangers taken by sync while the crowd has no room: one pushes out another."""
STRANGERS_BURST: Final = 256
TRUST_AGAIN_S: Final = 1.0
"""At least so long between two reckonings of who is vouched for: a few milliseconds each."""

# --- the node itself ---------------------------------------------------------------------
EXPIRE_EVERY_S: Final = 30
"""How often the books let go of what has ended; matching checks each lot's end anyway."""
BULK_SLICE: Final = 16
"""Lots or trades looked at between two looks at the network while bulk comes in."""
BULK_PAUSE_S: Final = 0.01
"""Between two slices: the books may follow the ledger seconds later, sync may not wait."""
STALE_MAX: Final = 65_536
"""Lots that the books have still to look at after bulk, 150 bytes each; beyond, sync waits."""
LOAD_SLICE: Final = 256
"""Lots read at start between two looks at the network."""
SHOWN_SCAN_MAX: Final = 20_000
"""Lots looked at for one listing: under half a second."""
API_BODY_MAX: Final = 4 * 1024 * 1024
"""One request to the local API: five hundred lots with all their text."""
API_LOTS_MAX: Final = 500
"""Lots in one request: one transaction of a few milliseconds."""
API_LIST_MAX: Final = 1000
"""Members of one list in an answer."""
API_LEAVE_WITHIN_S: Final = 1
"""How long a stopping node goes on answering whom it has begun to answer."""
EVENTS_WAITING_MAX: Final = 256
"""Events held for one reader of the event stream; a slower one is cut off."""
EVENT_READERS_MAX: Final = 32

# --- storage ---------------------------------------------------------------------------
WRITES_WAITING_MAX: Final = 64
"""Requests before the writer thread; whoever brings the next waits, and so stops reading."""
WRITE_GROUP_MAX: Final = 32
"""Requests that share a transaction: what has gathered while the last one was on its way."""
WRITE_GROUP_RECORDS_MAX: Final = 5000
"""Records in a transaction; beyond, a larger one gains little and an own entry waits long."""
BULK_MIN: Final = 128 * 1024
"""Bytes of frames from which a process of its own is worth the way there and back."""
BULK_GROUP_MAX: Final = 5 * FRAME_MAX
"""Bytes of one peer's frames that are taken in as one transaction: some 5,000 entries."""
BULK_PIPE: Final = 1024 * 1024
"""What the system holds between the two: the most that it grants without asking."""
BULK_IDLE_S: Final = 20
"""The bulk process holds some 80 MiB; when nothing has come for so long it ends."""
BULK_ANSWER_S: Final = 60
"""A transaction takes a fifth of a second; a process silent for so long will not answer."""
PRUNE_EVERY_S: Final = 24 * 3600
"""From one pruning to the next: history grows old by the day."""
PRUNE_BLOCKS_MAX: Final = 8
"""Blocks of 256 entries that one transaction drops, some 20 ms: whoever has to write waits."""
SAME_NAME_SHOWN: Final = 8
"""Of authors or ids that look alike, so many are named: their makers may grind out any number."""
NAMES_REMEMBERED: Final = 4096
"""Names of authors held in memory."""
FINDINGS_MAX: Final = 1000
"""Findings that an audit keeps; nobody reads more, and a broken disk makes millions."""
NOTES_MAX: Final = 200
"""Findings of an audit that are only worth knowing: anybody can cause them."""
ROOT_WORDS_MAX: Final = 1000
"""Sealed and healed chains that an audit lists by name; it counts all."""
REPORT_FINDINGS_MAX: Final = 200
"""Findings on a report's page: its reader needs the gravest, and the exit code."""
PICTURE_LANES_MAX: Final = 16
"""Chains in an audit's picture: more lanes than fit a screen are no picture."""
PICTURE_READ_MAX: Final = 5000
"""Entries of one chain that are read for a picture; those before them are drawn as one stretch."""
PICTURE_MARKS_MAX: Final = 480
"""Marks in a picture, parted among its lanes: some twenty strips, half a megabyte of page."""
PICTURE_LINKS_MAX: Final = 800
"""Lines between marks; a confirm of six lots draws seven."""
LISTED_FOR_S: Final = 30 * 24 * 3600
"""How long a lot stands that names no last day; stale listings are what people leave for."""
INVITE_ADDRESSES_MAX: Final = 8
"""Addresses in one invite: a QR code of them can still be scanned."""
INVITE_MAX: Final = 2048
"""Bytes of one invite before base64."""
INVITE_FOR_S: Final = 7 * 24 * 3600
"""How long an invite can be used: till the neighbour finds an evening for it."""
TOKENS_SPENT_MAX: Final = 1024
"""Used invites remembered until they expire; nobody gives out more in a week."""
JOIN_WITHIN_S: Final = 10
"""An answer to an invite is one small write away."""
FORMER_BOXES_MAX: Final = 16
"""Box keys of former devices whose words can still be read; each is tried in turn."""
BACKUP_MAX: Final = 256 * 2**20
"""Bytes of one backup, which is sealed and opened in memory: half a million own entries."""
ABOVE_SEAL_MAX: Final = 1024
"""Entries above a seal that are looked at for one that binds their author: as often as a trade is
shown, so a thief's long chain must not make that slow."""
TRIP_DAYS_MAX: Final = 3660
"""Days before a trip device's first entry on which it may have been certified, when its root looks
for the certificate: ten years, and a quarter of a second of signing."""
PRIVATE_FILE_MAX: Final = 4 * 2**20
"""One of the home's own files, as of who is followed or of rides; each is held in memory."""
SWAPS_LOOKED_AT: Final = 100
"""Own offers, and others near them, that are looked at for swaps."""
WISHES_MAX: Final = 200
"""Saved wishes of one node: each is held against every lot that arrives."""
GARAGE_MAX: Final = 200
"""Own vehicles and devices that are kept for what fits them."""
DISK_LOW_BYTES: Final = 256 * 2**20
"""Free space below which doctor warns: a busy month of a neighbourhood."""
BOOTSTRAP_RETRY_MAX_S: Final = 30
"""The longest pause between two tries of an address that has not answered yet."""
TALK_MAX: Final = 4096
"""Bytes of one message between two devices: words as long as an entry's, and who says them."""
TALK_HELD_MAX: Final = 2000
"""Messages kept, both ways; beyond, the oldest go. A year of a busy household."""
TALK_STRANGERS_MAX: Final = 200
"""Of them by authors nobody answers for and with whom nothing is agreed: an evening's quotes."""
TALK_ABOUT_MAX: Final = 100
"""Of them by one author about one trade, request or lot; who has more to say, calls."""
TALK_WAITING_MAX: Final = 256
"""Of them not delivered yet: neighbours asleep for a weekend."""
TALK_FOR_S: Final = 30 * 24 * 3600
"""How long a message waits for whom it is meant; older ones are refused, so that none returns."""
TALK_RETRY_S: Final = 20
"""From one try to deliver what waits to the next; a neighbour that comes is tried at once."""
TALK_RECIPIENTS_AT_ONCE: Final = 8
"""Devices that are looked for side by side among the neighbours."""
TALK_PEER_BURST: Final = 64
"""Messages taken from a peer at once, as after a night asleep."""
TALK_PEER_RATE_PER_S: Final = 1.0
"""And on average: each taken one is a file written."""
TALK_PEERS_METERED_MAX: Final = 1024
"""Peers whose rate is remembered."""
REPUTATION_DEPTH: Final = 4
"""Trades over which trust is handed on: farther off less than a sixteenth would be left of it."""
REPUTED_MAX: Final = 20_000
"""Authors that a view of reputations takes in: more than a city's trades of one year."""
REPUTATION_AGAIN_MS: Final = 1000
"""From one reckoning of reputations to the next, however often they change and are asked for."""
REPUTATION_SLICE: Final = 8
"""Trades folded at a time for reputations, some 5 ms: whoever asks meanwhile need not wait."""
DEALINGS_MAX: Final = 200_000
"""Fulfilled trades held in memory for reputations, some 60 MiB."""
QUOTE_FOR_S: Final = 24 * 3600
"""How long a quote stands unless told: the taker may be at work until the evening."""
STOCK_ROWS_MAX: Final = 15_000
"""Rows of files that are kept in step with lots: as many as their private file holds."""
STOCK_LOOK_S: Final = 5
"""How often a watched folder is looked at; a file is read once it has not changed in between."""
STOCK_AGAIN_S: Final = 3600
"""How often an unchanged file is gone through, to list anew what has run out."""
STOCK_FILES_MAX: Final = 64
"""Files of a watched folder; a shop has one."""
BACKUPS_MAX: Final = 256
"""Proposes in a lister's queue; who lists eggs for a street has fewer takers."""
RULES_MAX: Final = 64
"""Standing rules of one person, each looked at for each propose."""
RULES_FILE_MAX: Final = 65_536
"""Bytes of rules.toml."""
NOTED_MAX: Final = 4
"""Of what one author notes of one entry so much is read; the first counts."""
