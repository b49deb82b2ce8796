use super::*;

const U8: u32 = 1;
/// What [`btf`] knows from the start, ids from 1 on.
const BASE: [(&str, u32, u32, &[u32]); 7] = [
    ("u8", kind::INT << 24, 1, &[8]),
    ("u16", kind::INT << 24, 2, &[16]),
    ("u32", kind::INT << 24, 4, &[32]),
    ("u64", kind::INT << 24, 8, &[64]),
    ("ptr", kind::PTR << 24, 0, &[]),
    ("chars", kind::ARRAY << 24, 0, &[U8, U8, 48]),
    ("enum64", 19 << 24 | 1, 8, &[0, 1, 2]),
];

/// Types from lines such as `struct NAME SIZE, MEMBER TYPE BIT[:WIDTH], …`
/// (also `union`, and `_` for no name), `typedef NAME TYPE`,
/// `pointer NAME TYPE` (of that name here alone), `tracepoint NAME TYPE…`,
/// `function NAME RESULT TYPE…` and `enum NAME, ENUMERATOR VALUE, …` (also `enum64`).
pub fn btf(lines: &str) -> Result<Btf> {
    Btf::parse(blob(lines))
}

#[derive(Default)]
struct Writer {
    types: Vec<u32>,
    names: Vec<String>,
    strings: Vec<u8>,
}

impl Writer {
    fn name(&mut self, name: &str) -> u32 {
        let at = self.strings.len() as u32;
        self.strings.extend(
            name.strip_prefix('_')
                .filter(|rest| rest.is_empty())
                .unwrap_or(name)
                .bytes(),
        );
        self.strings.push(0);
        at
    }

    fn add(&mut self, name: &str, info: u32, size_or_type: u32, data: &[u32]) -> u32 {
        let at = self.name(name);
        self.types.extend([at, info, size_or_type]);
        self.types.extend(data);
        self.names.push(name.into());
        self.names.len() as u32
    }

    fn id(&self, name: &str) -> u32 {
        self.names.iter().rposition(|known| known == name).unwrap() as u32 + 1
    }

    fn holder(&mut self, kind: u32, name: &str, size: u32, members: &[&str]) {
        let mut data = Vec::new();
        let mut widths = 0;
        for member in members {
            let words: Vec<&str> = member.split_whitespace().collect();
            let (bit, width) = words[2].split_once(':').unwrap_or((words[2], "0"));
            let width: u32 = width.parse().unwrap();
            widths |= u32::from(width != 0) << 31;
            let place = bit.parse::<u32>().unwrap() | width << 24;
            data.extend([self.name(words[0]), self.id(words[1]), place]);
        }
        self.add(
            name,
            widths | kind << 24 | members.len() as u32,
            size,
            &data,
        );
    }

    fn prototype(&mut self, result: u32, arguments: &[&str]) -> u32 {
        let parameters = arguments.iter().flat_map(|name| [0, self.id(name)]);
        let parameters: Vec<u32> = parameters.collect();
        let info = kind::FUNC_PROTO << 24 | arguments.len() as u32;
        self.add("_", info, result, &parameters)
    }

    fn line(&mut self, line: &str) {
        let parts: Vec<&str> = line.split(',').collect();
        let words: Vec<&str> = parts[0].split_whitespace().collect();
        match words[..] {
            [] => {}
            ["typedef", name, of] => {
                let of = self.id(of);
                self.add(name, kind::TYPEDEF << 24, of, &[]);
            }
            ["tracepoint", name, ref arguments @ ..] => {
                let prototype = self.prototype(0, &[&["ptr"][..], arguments].concat());
                let pointer = self.add("_", kind::PTR << 24, prototype, &[]);
                let name = format!("btf_trace_{name}");
                self.add(&name, kind::TYPEDEF << 24, pointer, &[]);
            }
            ["function", name, result, ref arguments @ ..] => {
                let result = self.id(result);
                let prototype = self.prototype(result, arguments);
                self.add(name, kind::FUNC << 24, prototype, &[]);
            }
            ["pointer", name, to] => {
                let to = self.id(to);
                self.add("_", kind::PTR << 24, to, &[]);
                name.clone_into(self.names.last_mut().unwrap());
            }
            [word @ ("enum" | "enum64"), name] => {
                let mut data = Vec::new();
                for part in &parts[1..] {
                    let (name, value) = part.trim().split_once(' ').unwrap();
                    data.extend([self.name(name), value.parse().unwrap()]);
                    data.extend((word == "enum64").then_some(1));
                }
                let kind = if word == "enum" {
                    kind::ENUM
                } else {
                    kind::ENUM64
                };
                let len = parts.len() as u32 - 1;
                self.add(name, kind << 24 | len, 4, &data);
            }
            [word, name, size] => {
                let kind = if word == "union" {
                    kind::UNION
                } else {
                    kind::STRUCT
                };
                self.holder(kind, name, size.parse().unwrap(), &parts[1..]);
            }
            _ => panic!("cannot read {line}"),
        }
    }
}

fn blob(lines: &str) -> Vec<u8> {
    let mut to = Writer {
        strings: vec![0],
        ..Writer::default()
    };
    for (name, info, size_or_type, data) in BASE {
        to.add(name, info, size_or_type, data);
    }
    lines.lines().for_each(|line| to.line(line));
    let types_len = to.types.len() as u32 * 4;
    let header = [24, 0, types_len, types_len, to.strings.len() as u32];
    let mut out = MAGIC.to_ne_bytes().to_vec();
    out.extend([1, 0]);
    out.extend(
        header
            .iter()
            .chain(&to.types)
            .flat_map(|word| word.to_ne_bytes()),
    );
    out.extend(to.strings);
    out
}

const NESTED: &str = "
    typedef be16 u16
    struct _ 8, first u32 0, port be16 32
    union _u 8, _ _ 0, whole u32 0
    struct outer 16, whole u32 0, _ _u 64
    struct top 24, inner outer 64
    struct bits 4, flag u8 8:3
    typedef alias top
    pointer top* alias
    tracepoint shown top* u8 enum64
    function made u32 ptr top";

#[test]
fn member_through_anonymous_struct_in_union() {
    let found = btf(NESTED)
        .unwrap()
        .member("top", "inner.port")
        .unwrap()
        .unwrap();
    assert_eq!((found.bit_offset, found.size), (64 + 64 + 32, 2));
    assert_eq!((found.kind, found.bitfield), (kind::INT, false));
}

#[test]
fn own_member_comes_first() {
    let found = btf(NESTED)
        .unwrap()
        .member("outer", "whole")
        .unwrap()
        .unwrap();
    assert_eq!(found.bit_offset, 0);
}

#[test]
fn bitfields_are_told() {
    let found = btf(NESTED)
        .unwrap()
        .member("bits", "flag")
        .unwrap()
        .unwrap();
    assert_eq!((found.bit_offset, found.bitfield), (8, true));
}

#[test]
fn absent_is_none_and_kinds_are_kept_apart() {
    let btf = btf(NESTED).unwrap();
    for (name, path) in [
        ("top", "inner.nothing"),
        ("top", "inner.port.deeper"),
        ("u32", "port"),
        ("be16", "port"),
        ("none", "port"),
    ] {
        assert_eq!(btf.member(name, path).unwrap(), None, "{name}.{path}");
    }
}

#[test]
fn prototypes_of_tracepoints_and_functions() {
    let btf = btf(NESTED).unwrap();
    let to = |name: &str| Argument::Pointer(name.into());
    let shown = btf.tracepoint("shown").unwrap().unwrap();
    let expected = [to("top"), Argument::Integer(1), Argument::Integer(8)];
    assert_eq!(
        (shown.arguments, shown.result),
        (expected.into(), Argument::Other)
    );
    let made = btf.function("made").unwrap().unwrap();
    let expected = [to(""), Argument::Other];
    assert_eq!(
        (made.arguments, made.result),
        (expected.into(), Argument::Integer(4))
    );
    assert_eq!(btf.tracepoint("made").unwrap(), None);
    assert_eq!(btf.function("shown").unwrap(), None);
}

#[test]
fn enumerators_of_both_kinds() {
    for word in ["enum", "enum64"] {
        let lines = format!("{word} reason, A_ONE 1, A_SEVEN 7");
        let found = btf(&lines).unwrap().enumerators("reason").unwrap();
        let expected = [(1, "A_ONE".to_owned()), (7, "A_SEVEN".to_owned())];
        assert_eq!(found.as_deref(), Some(&expected[..]), "{word}");
    }
    assert_eq!(btf(NESTED).unwrap().enumerators("reason").unwrap(), None);
}

#[test]
fn sizes_of_structs() {
    let btf = btf(NESTED).unwrap();
    assert_eq!(btf.struct_size("outer").unwrap(), Some(16));
    assert_eq!(btf.struct_size("be16").unwrap(), None);
}

#[test]
fn damaged_blobs_are_errors() {
    let good = blob(NESTED);
    for len in 0..good.len() {
        assert!(Btf::parse(&good[..len]).is_err(), "cut to {len} bytes");
    }
    let mut unknown = good;
    // The kind of the first type, in its word `info`.
    unknown[24 + 7] = 60;
    let error = Btf::parse(&unknown).unwrap_err();
    assert!(format!("{error:#}").contains("unknown kind 60"));
}
