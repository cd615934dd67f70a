#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hardline_fuzz::checks::visitors(bytes));
