package import Rules

// The nodes of a store, and which of them leads a shard.

extension Fact {
  package static let nodesChanged = Fact(
    "0d0a4a7d3b5f4c0d8f3d5c9e7b1a2f64", .notice, "The nodes of this store have changed",
    meaning: "A node has come or gone; the shards are spread over those that are named.",
    action: "Nothing, if it was meant. A node that is missing was stopped, or its session to the database ended.",
    ends: [.leadership])
}

extension Observation {
  package static func nodesChanged(_ nodes: [String]) -> Self {
    Self(.nodesChanged).with(.nodes, nodes)
  }
}

extension Fact {
  package static let leadershipTaken = Fact(
    "3a9c1a5e2f7b4e6c9d8b0f1e6a5c4d73", .notice, "This node leads the shard now",
    meaning: "It holds the shard's lock, and goes on at its position. The field cause says why it came here.",
    action: "Nothing, if its cause was meant.",
    ends: [.lock])
}

extension Observation {
  package static func leadershipTaken(_ shard: ShardName, cause: String) -> Self {
    Self(.leadershipTaken, shard).with(.cause, cause)
  }
}

extension Fact {
  package static let leadershipGiven = Fact(
    "6e2b8f9d4c1a4d3e8a7c5b9f0e1d2c84", .notice, "This node has let the shard go",
    meaning:
      "The field cause says why it goes. Its page was finished first, or cancelled where the lock was lost.",
    action: "Nothing, if its cause was meant.")
}

extension Observation {
  package static func leadershipGiven(_ shard: ShardName, cause: String) -> Self {
    Self(.leadershipGiven, shard).with(.cause, cause)
  }
}

extension Fact {
  package static let leadershipBlocked = Fact(
    "91d7e5c3b2a84f6f8e0d1c2b3a495867", .warning, "The shard's lock is held by somebody else; trying again",
    meaning:
      "Another session holds the lock of a shard that this node should lead: another node for a moment, or a Marten host that runs the same shard.",
    action:
      "Nothing, if it passes. A host that runs the shard too should be told not to, or the projection be renamed here.",
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
    "The session that holds the locks is gone; its shards were ended here",
    meaning:
      "Without the locks other nodes may lead the shards. Pages under way were cancelled; positions move by compare-and-swap, so nothing is applied twice.",
    action:
      "Nothing, if the database was restarted. Otherwise look at the network between this node and the database.",
    repeats: .leadership)
}

extension Observation {
  package static func leadershipLost(failure: Problem, retryIn delay: Duration) -> Self {
    Self(.leadershipLost, failure: failure).with(.retryIn, delay)
  }
}

extension Fact {
  package static let leadershipWaived = Fact(
    "7d1c90c4b0c84b2a8e6bb3a1f3b5c9d2", .error, "This node leaves its shards to others: it has no high-water mark",
    meaning:
      "Its lock session works, but the one that proves the mark has not for this long, so its shards cannot go on here. It offers to run them again once it has a mark.",
    action:
      "Entries before this one say what fails. Where lock_url and url go different ways, look at what lies on the way of url."
  )
}

extension Observation {
  package static func leadershipWaived(after length: Duration) -> Self {
    Self(.leadershipWaived).with(.after, length)
  }
}

extension Fact {
  package static let otherNode = Fact(
    "2f0f6d1f5b0b4c0e9d7c44d1a8e35b17", .error, "Another node follows this store beside this one",
    meaning:
      "With mode = \"solo\" this node was alone when it started. Its session was lost for a while, and another node has begun meanwhile. Both run the same shards; positions move by compare-and-swap, so nothing is applied twice.",
    action: "Stop one of them, or set mode = \"hotcold\" on both.",
    repeats: .leadership)
}

extension Observation {
  package static func otherNode(failure: Problem) -> Self {
    Self(.otherNode, failure: failure)
  }
}
