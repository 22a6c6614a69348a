use super::*;

/// What a visitor was told, in a form that two scans can be compared by.
#[derive(Debug, Default, PartialEq)]
struct Told(Vec<String>);

impl Visit for Told {
    fn key(&mut self, depth: usize, key: &[u8], at: usize) {
        let key = String::from_utf8_lossy(key);
        self.0.push(format!("{depth} key {key} at {at}"));
    }

    fn scalar(&mut self, depth: usize, value: Scalar<'_>, place: Range<usize>) {
        let value = match value {
            Scalar::String(text, length) => {
                format!("string {} of {length}", String::from_utf8_lossy(text))
            }
            Scalar::Number(digits) => format!("number {}", String::from_utf8_lossy(digits)),
            other => format!("{other:?}"),
        };
        self.0.push(format!("{depth} {value} at {place:?}"));
    }

    fn open(&mut self, depth: usize, object: bool, at: usize) {
        self.0.push(format!("{depth} open {object} at {at}"));
    }

    fn close(&mut self, depth: usize, end: usize) {
        self.0.push(format!("{depth} close at {end}"));
    }
}

fn scan(pieces: &[&[u8]]) -> (Told, Option<Fault>) {
    let (mut scanner, mut told) = (Scanner::default(), Told::default());
    for piece in pieces {
        scanner.feed(piece, &mut told);
    }
    scanner.finish(&mut told);
    (told, scanner.fault())
}

const DOCUMENTS: &[&str] = &[
    r#"{"model":"gpt-4o","stream":true,"n":-1.5e+3,"messages":[{"content":"a\n\"b\""},[]],"x":null}"#,
    r#" { "mod\u0065l" : "\ud83d\ude00 \ud83d x" , "a":{} } "#,
    "[1,2,[],{},\"\",0,-0,1e5]",
    "0",
    "true",
    "\"plain\"",
];

const BROKEN: &[&str] = &[
    "",
    " ",
    "{",
    "[",
    "\"",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "[1,]",
    "{,}",
    "[1 2]",
    "01",
    "1.",
    "-",
    "1e",
    ".5",
    "+1",
    "tru",
    "truex",
    "nul",
    "{}{}",
    "{} x",
    "[}",
    "{]",
    "\"\\x\"",
    "\"\\u12g4\"",
    "\"a\nb\"",
    "{'a':1}",
    "NaN",
    "{\"a\":1]",
    "\u{feff}{}",
];

#[test]
fn every_split_tells_the_same() {
    for document in DOCUMENTS {
        let bytes = document.as_bytes();
        let whole = scan(&[bytes]);
        assert_eq!(whole.1, None, "{document}");
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(scan(&[a, b]), whole, "{document} cut at {cut}");
        }
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(scan(&single), whole, "{document} byte by byte");
    }
}

#[test]
fn what_is_no_json_is_faulty() {
    for document in BROKEN {
        let (_, fault) = scan(&[document.as_bytes()]);
        assert!(fault.is_some(), "{document:?} was accepted");
    }
}

#[test]
fn escapes_are_decoded_in_keys_and_values() {
    let (told, _) = scan(&[r#"{"mod\u0065l":"\ud83d\ude00\/\t"}"#.as_bytes()]);
    assert!(told.0[1].contains("key model"), "{told:?}");
    assert!(told.0[2].contains("string 😀/\t of 6"), "{told:?}");
}

#[test]
fn a_lone_surrogate_is_replaced_not_lost() {
    for text in [r#""\ud83dx""#, r#""\ud83d\u0078""#, r#""\ude00x""#] {
        let (told, fault) = scan(&[text.as_bytes()]);
        assert!(told.0[0].contains("\u{fffd}x"), "{told:?}");
        assert_eq!(fault, None);
    }
}

#[test]
fn long_strings_are_measured_but_not_kept() {
    let long = format!("\"{}\\n{}\"", "a".repeat(1000), "b".repeat(1000));
    let (told, _) = scan(&[long.as_bytes()]);
    assert!(told.0[0].contains(&format!("{} of 2001", "a".repeat(KEPT))));
    assert!(told.0[0].len() < KEPT + 50);
}

#[test]
fn depth_is_bounded() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert_eq!(scan(&[deep(MAX_DEPTH).as_bytes()]).1, None);
    let (_, fault) = scan(&[deep(MAX_DEPTH + 1).as_bytes()]);
    assert_eq!(fault.map(|f| f.at), Some(MAX_DEPTH));
    assert!(scan(&["[".repeat(1 << 20).as_bytes()]).1.is_some());
}
