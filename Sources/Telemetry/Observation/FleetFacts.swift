package import Rules

// The nodes of a store, and the leaders of its shards.

extension Fact {
  package static let nodesChanged = Fact(
    "0d0a4a7d3b5f4c0d8f3d5c9e7b1a2f64", .notice, "The nodes of this store changed",
    meaning: "A node joined or left; the shards are spread over the nodes that the field names.",
    action: "Nothing, if this was intended. A missing node was stopped, or its session to the database ended.",
    ends: [.leadership])
}

extension Observation {
  package static func nodesChanged(_ nodes: [String]) -> Self {
    Self(.nodesChanged).with(.nodes, nodes)
  }
}

extension Fact {
  package static let leadershipTaken = Fact(
    "3a9c1a5e2f7b4e6c9d8b0f1e6a5c4d73", .notice, "Leadership of the shard acquired",
    meaning: "This node holds the shard's lock, and continues at its position. The field cause says why.",
    action: "Nothing, if the cause was intended.",
    ends: [.lock])
}

extension Observation {
  package static func leadershipTaken(_ shard: ShardName, cause: String) -> Self {
    Self(.leadershipTaken, shard).with(.cause, cause)
  }
}

extension Fact {
  package static let leadershipGiven = Fact(
    "6e2b8f9d4c1a4d3e8a7c5b9f0e1d2c84", .notice, "Leadership of the shard released",
    meaning:
      "The field cause says why. The node finished its page first, or cancelled it if the lock was lost.",
    action: "Nothing, if the cause was intended.")
}

extension Observation {
  package static func leadershipGiven(_ shard: ShardName, cause: String) -> Self {
    Self(.leadershipGiven, shard).with(.cause, cause)
  }
}

extension Fact {
  package static let leadershipBlocked = Fact(
    "91d7e5c3b2a84f6f8e0d1c2b3a495867", .warning, "Another session holds the shard's lock; trying again",
    meaning:
      "This node should lead the shard, but another session holds its lock: another node, for a moment, or a Marten host that runs the same shard.",
    action:
      "Nothing, if it ends soon. Otherwise stop the host from running the shard, or rename the projection here.",
    repeats: .lock)
}

extension Observation {
  package static func leadershipBlocked(_ shard: ShardName, by who: String) -> Self {
    Self(.leadershipBlocked, shard).with(.by, who)
  }
}

extension Fact {
  package static let leadershipLost = Fact(
    "b4f0a2c6d8e04a1b9c3d5e7f8091a2b5", .error,
    "Lost the session that holds the locks; this node stopped its shards",
    meaning:
      "Without the locks, other nodes may lead the shards. The node cancelled the pages in progress; positions move by compare-and-swap, so nothing is applied twice.",
    action:
      "Nothing, if the database was restarted. Otherwise check the network between this node and the database.",
    repeats: .leadership)
}

extension Observation {
  package static func leadershipLost(failure: Problem, retryIn delay: Duration) -> Self {
    Self(.leadershipLost, failure: failure).with(.retryIn, delay)
  }
}

extension Fact {
  package static let leadershipWaived = Fact(
    "7d1c90c4b0c84b2a8e6bb3a1f3b5c9d2", .error, "No high-water mark: this node handed its shards to the others",
    meaning:
      "The node's lock session works, but the session that proves the mark has not worked for this long, so the shards cannot continue here. The node offers to run them again once it has a mark.",
    action:
      "Earlier entries say what fails. If lock_url and url take different routes, check the route of url."
  )
}

extension Observation {
  package static func leadershipWaived(after length: Duration) -> Self {
    Self(.leadershipWaived).with(.after, length)
  }
}

extension Fact {
  package static let otherNode = Fact(
    "2f0f6d1f5b0b4c0e9d7c44d1a8e35b17", .error, "Another node follows this store at the same time",
    meaning:
      "With mode = \"solo\" this node was alone when it started. It lost its session for a while, and another node started in that time. Both run the same shards; positions move by compare-and-swap, so nothing is applied twice.",
    action: "Stop one of them, or set mode = \"hotcold\" on both.",
    repeats: .leadership)
}

extension Observation {
  package static func otherNode(failure: Problem) -> Self {
    Self(.otherNode, failure: failure)
  }
}
