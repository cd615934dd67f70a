//! LAN discovery: the datagrams and the state machine that sends and answers them.
