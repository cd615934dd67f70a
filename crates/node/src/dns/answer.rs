//! A question of DNS → its answer: names below `localhost` are this computer, all others are
//! refused (RFC 6761, section 6.3).

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

/// Seconds for which an answer may be kept. It never changes.
const TTL: u32 = 3600;

/// Bytes of the header, whose first two are the question's number (RFC 1035, section 4.1.1).
const HEADER: usize = 12;

/// The bit of the third byte that marks an answer.
const IS_ANSWER: u8 = 0x80;

/// The answer to a datagram; `None` to what is no question. Never longer than 512 bytes, which
/// every client takes.
pub(super) fn answer(datagram: &[u8]) -> Option<Vec<u8>> {
    let header = datagram.first_chunk::<HEADER>().filter(|header| header[2] & IS_ANSWER == 0)?;
    let answer = match Message::from_vec(datagram) {
        Ok(question) if question.metadata.message_type == MessageType::Query => answer_to(question),
        Ok(_) => return None,
        Err(_) => {
            let id = u16::from_be_bytes([header[0], header[1]]);
            Message::error_msg(id, OpCode::Query, ResponseCode::FormErr)
        }
    };
    answer.to_vec().ok()
}

fn answer_to(question: Message) -> Message {
    let asked = question.metadata;
    let mut answer = Message::response(asked.id, asked.op_code);
    answer.metadata.recursion_desired = asked.recursion_desired;
    answer.edns = question.edns.is_some().then(Edns::new);
    let [query] = question.queries.as_slice() else {
        answer.metadata.response_code = ResponseCode::FormErr;
        return answer;
    };
    answer.metadata.response_code = match asked.op_code {
        OpCode::Query if is_ours(&query.name, query.query_class) => ResponseCode::NoError,
        OpCode::Query => ResponseCode::Refused,
        _ => ResponseCode::NotImp,
    };
    if answer.metadata.response_code == ResponseCode::NoError {
        answer.metadata.authoritative = true;
        let data = addresses(query.query_type);
        answer.add_answers(data.into_iter().map(|data| Record::from_rdata(query.name.clone(), TTL, data)));
    }
    answer.add_query(query.clone());
    answer
}

fn is_ours(name: &Name, class: DNSClass) -> bool {
    let is_below = name.iter().next_back().is_some_and(|label| label.eq_ignore_ascii_case(b"localhost"));
    is_below && matches!(class, DNSClass::IN | DNSClass::ANY)
}

/// The addresses of this computer that are of a type. Of others, names below `localhost` have none.
fn addresses(of: RecordType) -> Vec<RData> {
    let (v4, v6) = (RData::A(A(Ipv4Addr::LOCALHOST)), RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)));
    match of {
        RecordType::A => vec![v4],
        RecordType::AAAA => vec![v6],
        RecordType::ANY => vec![v4, v6],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;

    use super::*;

    fn question(name: &str, of: RecordType) -> Message {
        let mut question = Message::query();
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(Name::from_ascii(name).unwrap(), of));
        question
    }

    #[track_caller]
    fn check(name: &str, of: RecordType, code: ResponseCode, expected: &[&str]) {
        let question = question(name, of);
        let answer = Message::from_vec(&answer(&question.to_vec().unwrap()).unwrap()).unwrap();
        assert_eq!((answer.metadata.id, answer.metadata.response_code), (question.metadata.id, code), "{name}");
        assert_eq!(answer.queries, question.queries);
        let data: Vec<_> = answer.answers.iter().map(|record| record.data.to_string()).collect();
        assert_eq!(data, expected, "{name}");
    }

    #[test]
    fn names_below_localhost_are_this_computer() {
        let key = "e868423731872b8235a0adc9102bb45bb9e8321e";
        for name in [format!("{key}.localhost."), format!("pw-{key}.LOCALHOST."), "localhost.".to_owned()] {
            check(&name, RecordType::A, ResponseCode::NoError, &["127.0.0.1"]);
            check(&name, RecordType::AAAA, ResponseCode::NoError, &["::1"]);
            check(&name, RecordType::ANY, ResponseCode::NoError, &["127.0.0.1", "::1"]);
            check(&name, RecordType::MX, ResponseCode::NoError, &[]);
        }
    }

    #[test]
    fn every_other_name_is_refused() {
        for name in ["example.org.", "localhost.example.org.", "notlocalhost.", "."] {
            check(name, RecordType::A, ResponseCode::Refused, &[]);
        }
    }

    #[test]
    fn what_is_no_question_gets_no_answer_and_what_cannot_be_read_is_said_so() {
        let bytes = question("a.localhost.", RecordType::A).to_vec().unwrap();
        let reply = answer(&bytes).unwrap();
        assert_eq!(answer(&reply), None, "an answer is not answered");
        for end in 0..HEADER {
            assert_eq!(answer(&bytes[..end]), None);
        }
        for end in HEADER..bytes.len() {
            let said = Message::from_vec(&answer(&bytes[..end]).unwrap()).unwrap();
            assert_eq!(said.metadata.response_code, ResponseCode::FormErr, "{end} bytes");
            assert_eq!(said.metadata.id.to_be_bytes(), bytes[..2]);
        }
        let mut update = question("a.localhost.", RecordType::A);
        update.metadata.op_code = OpCode::Notify;
        let said = Message::from_vec(&answer(&update.to_vec().unwrap()).unwrap()).unwrap();
        assert_eq!(said.metadata.response_code, ResponseCode::NotImp);
    }

    #[test]
    fn random_and_changed_bytes_are_answered_shortly_or_not_at_all() {
        use rand::{RngExt as _, SeedableRng as _};
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        let whole = question("a.b.localhost.", RecordType::ANY).to_vec().unwrap();
        for round in 0..20_000 {
            let mut bytes = whole.clone();
            if round % 2 == 0 {
                bytes = (0..random.random_range(0..600)).map(|_| random.random()).collect();
            } else {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            assert!(answer(&bytes).is_none_or(|answer| answer.len() <= 512), "{bytes:?}");
        }
    }
}
