/** What went wrong. `name` is stable and meant for programs; `code` is the SIP response code beside it, or 0. */
export class BridgeheadError extends Error {
  readonly name: ErrorName;
  readonly code: number;
  /** With `unauthorized`: what is wrong with the token (`expired`, `signature`, `audience`, …). */
  readonly reason?: string;
}

/** Why a call ended or was refused: the gateway's stable names. */
export type Cause =
  | 'hangup'
  | 'transferred'
  | 'cancelled'
  | 'answered_elsewhere'
  | 'busy'
  | 'declined'
  | 'no_answer'
  | 'not_found'
  | 'unreachable'
  | 'forbidden'
  | 'not_acceptable'
  | 'pending'
  | 'overloaded'
  | 'loop'
  | 'media_lost'
  | 'expired'
  | 'rejected'
  | 'failed';

/** A cause, a refusal by the gateway, or something on this side. */
export type ErrorName =
  | Cause
  | 'unauthorized'
  | 'version'
  | 'bad_request'
  | 'unknown_type'
  | 'unknown_session'
  | 'unknown_call'
  | 'wrong_state'
  | 'too_many'
  | 'not_registered'
  | 'connection_lost'
  | 'microphone_denied'
  | 'microphone_unavailable'
  | (string & {});

export interface Party {
  /** User part or number; empty where anonymous. */
  readonly user: string;
  readonly host: string;
  readonly display: string;
}

/** How a call ended. */
export interface Ended {
  readonly reason: ErrorName;
  /** SIP response code, or 0. */
  readonly code: number;
  /** There where something failed on this side. */
  readonly error?: BridgeheadError;
  /** The last numbers, where the gateway ended the call. */
  readonly stats?: GatewayStats;
}

export type CallState = 'dialling' | 'ringing' | 'early' | 'incoming' | 'answering' | 'answered' | 'ended';

/** Whether sound can flow; `interrupted` while the network is away. */
export type MediaState = 'new' | 'connected' | 'interrupted';

/** `true` opens the microphone, constraints choose and tune it, a stream is sent as it is, `false` only listens. */
export interface MediaOptions {
  audio?: boolean | MediaTrackConstraints | MediaStream;
}

/** Third-party control by the SIP server: `talk` answers a call that rings and resumes one on hold, `hold` holds. */
export interface Control {
  readonly action: 'talk' | 'hold';
  /** The application does it, or not. */
  preventDefault(): void;
}

export interface KeyOptions {
  /** Milliseconds of each key, 40 to 6000; 100 where absent. */
  duration?: number;
  /** Milliseconds between keys; 70 where absent. */
  gap?: number;
  /** `auto`: as sound events where the call has them, else by INFO. */
  via?: 'auto' | 'info';
}

export interface CallEvents {
  /** The far side alerts its user (180). */
  ringing: { code: number };
  /** The far side sends sound before it answers (183). */
  early: { code: number };
  answered: undefined;
  ended: Ended;
  /** A track was added to `remoteStream`. */
  track: MediaStreamTrack;
  media: MediaState;
  /** The other party holds us, and does so no more. */
  held: undefined;
  resumed: undefined;
  /** We hold the other party, or do so no more. */
  hold: boolean;
  /** The other party pressed a key. */
  dtmf: { digit: string; duration: number };
  /** The other party tells something (SIP INFO). */
  info: { contentType: string; body: string };
  /** The other party sends a text (SIP MESSAGE). */
  message: Text;
  /** A transfer that this page asked for: `code` is what the third party's phone says. */
  transfer: { state: 'transferring' | 'transferred' | 'failed'; code: number; error?: BridgeheadError };
  /** The other party is somebody else from now on: it was transferred, or somebody took its place. */
  party: Party;
  control: Control;
  /** How the call sounds, where that changed. */
  quality: Quality;
}

export interface Text {
  contentType: string;
  body: string;
}

/** What is told of a subscription. */
export interface News extends Text {
  event: EventPackage;
  /** Of `message-summary`: whether messages wait, and how many voice messages are new and old. */
  mwi: { waiting: boolean; new: number; old: number } | null;
}

export type EventPackage = 'message-summary' | 'dialog' | 'presence';

/** How a call sounds: in plain words, and as an estimated opinion from 1 to 4.5. */
export interface Quality {
  level: 'good' | 'fair' | 'poor';
  mos: number | null;
  /** One party is heard and the other one, that should be, is not. */
  oneWay: boolean;
}

/** A call's media as the gateway counts it: received is from this page, sent is to it. */
export interface GatewayStats {
  codec: string;
  packets_received: number;
  octets_received: number;
  lost: number;
  jitter_ms: number;
  packets_sent: number;
  octets_sent: number;
  remote_lost: number;
  remote_jitter_ms: number;
  round_trip_ms: number | null;
  mos_received: number | null;
  mos_sent: number | null;
}

export interface CallStats {
  /** `audio/PCMU`, `audio/opus`, … */
  codec: string | null;
  packetsReceived: number;
  packetsLost: number;
  packetsSent: number;
  bytesReceived: number;
  bytesSent: number;
  jitterMs: number | null;
  roundTripMs: number | null;
  /** 0 to 1. */
  levelIn: number | null;
  levelOut: number | null;
  /** Null where it could not be asked. */
  gateway: GatewayStats | null;
  report: RTCStatsReport;
}

declare class Emitter<Events> {
  /** Listens. Returns a function that stops listening. */
  on<Name extends keyof Events>(name: Name, listener: (detail: Events[Name]) => void): () => void;
  once<Name extends keyof Events>(name: Name, listener: (detail: Events[Name]) => void): () => void;
  off<Name extends keyof Events>(name: Name, listener: (detail: Events[Name]) => void): void;
}

/** One call. Made by `dial`, or given with the event `incoming`. */
export class Call extends Emitter<CallEvents> {
  private constructor();
  readonly id: string;
  readonly direction: 'outgoing' | 'incoming';
  readonly state: CallState;
  readonly media: MediaState;
  readonly from: Party;
  readonly to: string;
  /** The other party, which a transfer changes. */
  readonly party: Party;
  /** Headers that came with the call, of those that the operator lets through. */
  readonly data: Record<string, string>;
  readonly muted: boolean;
  /** The other party holds us. */
  readonly held: boolean;
  /** We hold the other party. */
  readonly onHold: boolean;
  /** There from the start and filled when sound comes: attach it to an audio element at once. */
  readonly remoteStream: MediaStream;
  readonly localStream: MediaStream | null;
  /** The peer connection beneath. */
  readonly connection: RTCPeerConnection | null;
  /** Resolved by the answer, rejected with a `BridgeheadError` by whatever ends the call before. */
  readonly answered: Promise<Call>;
  /** Resolved when the call is over; never rejected. */
  readonly ended: Promise<Ended>;
  /** Takes an incoming call. */
  answer(options?: MediaOptions): Promise<Call>;
  /** Refuses an incoming call. */
  reject(reason?: 'busy' | 'declined'): Promise<Ended>;
  /** Ends the call, whatever its state: one that is not answered is cancelled. The microphone is free at once. */
  hangup(): Promise<Ended>;
  /** Stops or resumes sending sound. */
  mute(on?: boolean): void;
  /** Holds the other party: nothing is heard either way. Resolves when it knows. */
  hold(): Promise<void>;
  /** Ends `hold`. */
  resume(): Promise<void>;
  /** Presses keys: `0-9A-D*#`, and `,` for a pause of two seconds. Resolves when the last one is out. */
  dtmf(digits: string, options?: KeyOptions): Promise<void>;
  /**
   * Tells the other party something (SIP INFO): a form, JSON, text, or octets in base64, of at most 8192 bytes. Resolves when it has taken it;
   * rejects by its refusal (`not_acceptable`, `no_answer`, …), with its SIP code.
   */
  info(contentType: string, body: string): Promise<void>;
  /** Sends a text (SIP MESSAGE) of at most 8192 bytes. Resolves when the other party has taken it. */
  message(body: string, options?: { type?: string }): Promise<void>;
  /**
   * Connects the other party with whom `to` names, or with the other party of another answered call. Resolves when it is:
   * this call, and the other one, end with `transferred`. Rejects where it can't be (`busy`, `no_answer`, `declined`, …):
   * the call goes on as it was.
   */
  transfer(to: string | Call): Promise<void>;
  /** An ICE restart. Done without being asked when the sound breaks off. */
  restart(): Promise<void>;
  stats(): Promise<CallStats>;
  /**
   * After a reload: goes on with an answered call of the page before (one of `Bridgehead.calls`). Rejected by what hinders
   * it (no microphone, a refusal), which ends the call.
   */
  takeover(options?: MediaOptions): Promise<void>;
}

/** Something that the SIP server tells of, until `close`. A page that was reloaded subscribes again. */
export interface Subscription extends Emitter<{ notify: News; ended: { reason: string } }> {
  readonly id: string;
  readonly event: EventPackage;
  close(): void;
}

export interface ClientEvents {
  /** Somebody sends a text (SIP MESSAGE), outside of a call. */
  message: Text & { from: Party };
  /** Messages wait, as the SIP server tells unasked. */
  notify: News;
  incoming: Call;
  registered: undefined;
  unregistered: { reason: ErrorName; code: number };
  /** The session is over: `connection_lost`, `replaced`, `draining`, … */
  closed: { reason: string };
  /** The line to the gateway was lost, found again, or given up. Calls go on meanwhile. */
  connection: ConnectionState;
}

export type ConnectionState = 'connecting' | 'connected' | 'reconnecting' | 'closed';

export interface ConnectOptions {
  /** `wss://gateway.example/v1/ws`. Where it is absent: the server that this module came from. */
  url?: string;
  user?: string;
  password?: string;
  /** A JSON Web Token, or what makes one each time it is needed. */
  token?: string | (() => string | Promise<string>);
  /** `auto`, the default: WebSocket, and long poll where that is blocked. */
  transport?: 'auto' | 'websocket' | 'poll';
  /** A call that is dialled, answered or resumed puts the others on hold. */
  autoHold?: boolean;
  /** Keep a token in sessionStorage (under this name), and come back by it after a reload, unless `user` and `password`
   * are another user's. `calls` then has the
   * calls: an answered one waits for `takeover`, one that rings is told of by `incoming` as well, one that was still
   * dialled ends with `cancelled`. */
  resume?: boolean | string;
}

/** A signed-in user: one connection to the gateway, any number of calls. */
export class Bridgehead extends Emitter<ClientEvents> {
  private constructor();
  /** Signs in. The password or token travels in the first message, never in the URL. */
  static connect(options?: ConnectOptions): Promise<Bridgehead>;
  readonly user: string;
  readonly session: string;
  /** Whether the SIP server sends this user's calls here. */
  readonly registered: boolean;
  readonly closed: boolean;
  readonly connection: ConnectionState;
  /** How the gateway is reached now; null while it is not. */
  readonly transport: 'websocket' | 'poll' | null;
  /** The calls that are not over. */
  readonly calls: Call[];
  /** The answered call that is not on hold. */
  readonly active: Call | null;
  /**
   * Asks the SIP server to send this user's calls here. Resolves when it agrees. `password` is the SIP password, where a
   * token gave a SIP identity without a secret.
   */
  register(options?: { password?: string }): Promise<void>;
  unregister(): Promise<void>;
  /** Calls a user, a number or a SIP URI. Returns at once, so that no event can be missed. */
  dial(to: string, options?: MediaOptions & { attach?: Record<string, string> }): Call;
  /** Sends a text (SIP MESSAGE) of at most 8192 bytes. Resolves when it was taken. */
  message(to: string, body: string, options?: { type?: string }): Promise<void>;
  /** Asks to be told of something, of oneself or of `to`. Resolves when the gateway has taken it on; news come as `notify`. */
  subscribe(event: EventPackage, to?: string): Promise<Subscription>;
  /** Holds the active call and resumes another: the one given, else the first that is on hold. */
  swap(to?: Call): Promise<Call>;
  /** Hangs up every call and signs out. */
  close(): void;
}
