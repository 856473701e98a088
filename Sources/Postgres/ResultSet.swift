import CLibpq

/// The result of a statement. Rows stay in libpq's memory, in text format, and are decoded on access.
package struct ResultSet: Sendable {
  private let handle: Handle

  /// Owns a `PGresult`, which no longer changes.
  private final class Handle: @unchecked Sendable {
    let pointer: OpaquePointer
    init(_ pointer: OpaquePointer) { self.pointer = pointer }
    deinit { PQclear(pointer) }
  }

  /// Takes ownership of the result.
  init(owning pointer: OpaquePointer) { handle = Handle(pointer) }

  package var rows: Rows { Rows(result: self) }

  package var columns: [String] { (0..<PQnfields(handle.pointer)).map { String(cString: PQfname(handle.pointer, $0)) } }

  /// Rows that the statement inserted, updated, deleted or returned.
  package var affectedRows: Int { Int(String(cString: PQcmdTuples(handle.pointer))) ?? 0 }

  /// `INSERT 0 1`, `COMMIT`, `ROLLBACK`…
  package var commandTag: String { String(cString: PQcmdStatus(handle.pointer)) }

  fileprivate var rowCount: Int { Int(PQntuples(handle.pointer)) }

  fileprivate func bytes(_ row: Int, _ column: Int) -> UnsafeBufferPointer<UInt8>? {
    let (row, column) = (Int32(row), Int32(column))
    guard PQgetisnull(handle.pointer, row, column) == 0, let value = PQgetvalue(handle.pointer, row, column) else {
      return nil
    }
    let count = Int(PQgetlength(handle.pointer, row, column))
    return UnsafeRawBufferPointer(start: value, count: count).assumingMemoryBound(to: UInt8.self)
  }

  fileprivate func column(_ name: String) -> Int? {
    columns.firstIndex(of: name)
  }

  fileprivate func type(_ column: Int) -> UInt32 { PQftype(handle.pointer, Int32(column)) }

  package struct Rows: RandomAccessCollection, Sendable {
    fileprivate let result: ResultSet

    package var startIndex: Int { 0 }
    package var endIndex: Int { result.rowCount }
    package subscript(index: Int) -> Row {
      precondition(indices.contains(index), "row \(index) of \(count)")
      return Row(result: result, index: index)
    }
  }
}

/// One row of a ``ResultSet``.
package struct Row: Sendable {
  fileprivate let result: ResultSet
  fileprivate let index: Int

  /// The value as PostgreSQL writes it; nil for NULL.
  package func text(_ column: Int) -> String? {
    result.bytes(index, column).map { String(decoding: $0, as: UTF8.self) }
  }

  /// - Throws: a decoding error if there is no such column, if it is NULL and `T` is not optional, or if it is not a
  ///   `T`.
  package func get<T: PostgresDecodable>(_ column: Int, as type: T.Type = T.self) throws(PostgresError) -> T {
    let bytes = result.bytes(index, column)
    guard let value = T.decode(bytes) else {
      throw PostgresError(
        .decoding("column \(result.columns[column]) expected \(T.self), got \(bytes == nil ? "NULL" : "another type")"))
    }
    return value
  }

  package func get<T: PostgresDecodable>(_ name: String, as type: T.Type = T.self) throws(PostgresError) -> T {
    guard let column = result.column(name) else {
      throw PostgresError(.decoding("expected a column \(name), got \(result.columns.joined(separator: ", "))"))
    }
    return try get(column)
  }
}

/// A type that can be read from a column in PostgreSQL's text format.
package protocol PostgresDecodable: Sendable {
  /// Returns nil if the bytes are not such a value; nil bytes are NULL.
  static func decode(_ bytes: UnsafeBufferPointer<UInt8>?) -> Self?
}

extension String: PostgresDecodable {
  package static func decode(_ bytes: UnsafeBufferPointer<UInt8>?) -> String? {
    bytes.map { String(decoding: $0, as: UTF8.self) }
  }
}

extension PostgresDecodable where Self: LosslessStringConvertible {
  package static func decode(_ bytes: UnsafeBufferPointer<UInt8>?) -> Self? {
    bytes.flatMap { Self(String(decoding: $0, as: UTF8.self)) }
  }
}

extension Int: PostgresDecodable {}
extension Int32: PostgresDecodable {}
extension Int64: PostgresDecodable {}
extension Double: PostgresDecodable {}

extension Bool: PostgresDecodable {
  package static func decode(_ bytes: UnsafeBufferPointer<UInt8>?) -> Bool? {
    switch bytes.map({ Array($0) }) {
    case [UInt8(ascii: "t")]: true
    case [UInt8(ascii: "f")]: false
    default: nil
    }
  }
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
  package static func decode(_ bytes: UnsafeBufferPointer<UInt8>?) -> Wrapped?? {
    guard let bytes else { return .some(nil) }
    return Wrapped.decode(bytes).map { .some($0) }
  }
}
