// How operations (and the rows of `quota`) write a subject of limits and its limits. The byte table is in docs/format.md.

extension ByteWriter {
  mutating func quotaSubject(_ subject: QuotaSubject) {
    let (kind, id) = subject.row
    u8(UInt8(kind))
    varint(id)
  }

  mutating func quotaLimits(_ limits: QuotaLimits) {
    let numbers = [limits.bytes.soft, limits.bytes.hard, limits.nodes.soft, limits.nodes.hard]
    var bits: UInt8 = 0
    for (index, number) in numbers.enumerated() where number != nil { bits |= 1 << UInt8(index) }
    u8(bits)
    for number in numbers { if let number { varint(number) } }
    varint(UInt64(limits.graceSeconds))
  }
}

extension ByteReader {
  mutating func quotaSubject() throws(Malformed) -> QuotaSubject {
    guard let subject = QuotaSubject(kind: UInt64(try u8()), id: try varint()) else { throw Malformed() }
    return subject
  }

  mutating func quotaLimits() throws(Malformed) -> QuotaLimits {
    let bits = try u8()
    guard bits < 16 else { throw Malformed() }
    var limits = QuotaLimits()
    if bits & 1 != 0 { limits.bytes.soft = try varint() }
    if bits & 2 != 0 { limits.bytes.hard = try varint() }
    if bits & 4 != 0 { limits.nodes.soft = try varint() }
    if bits & 8 != 0 { limits.nodes.hard = try varint() }
    limits.graceSeconds = try varint32()
    return limits
  }
}
