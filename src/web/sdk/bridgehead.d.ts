/** What went wrong. `name` is stable and meant for programs; `code` is the SIP response code beside it, or 0. */
export class BridgeheadError extends Error {
  readonly name: ErrorName;
  readonly code: number;
}

/** Why a call ended or was refused: the gateway's stable names. */
export type Cause =
  | 'hangup'
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
}

export type CallState = 'dialling' | 'ringing' | 'early' | 'incoming' | 'answering' | 'answered' | 'ended';

/** Whether sound can flow; `interrupted` while the network is away. */
export type MediaState = 'new' | 'connected' | 'interrupted';

/** `true` opens the microphone, constraints choose and tune it, a stream is sent as it is, `false` only listens. */
export interface MediaOptions {
  audio?: boolean | MediaTrackConstraints | MediaStream;
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
  readonly muted: boolean;
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
  /** An ICE restart. Done without being asked when the sound breaks off. */
  restart(): Promise<void>;
  stats(): Promise<CallStats>;
}

export interface ClientEvents {
  incoming: Call;
  registered: undefined;
  unregistered: { reason: ErrorName; code: number };
  /** The session is over: `connection_lost`, `replaced`, `draining`, … */
  closed: { reason: string };
}

export interface ConnectOptions {
  /** `wss://gateway.example/v1/ws`. Where it is absent: the server that the page came from. */
  url?: string;
  user?: string;
  password?: string;
  token?: string;
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
  /** The calls that are not over. */
  readonly calls: Call[];
  /** Asks the SIP server to send this user's calls here. Resolves when it agrees. */
  register(): Promise<void>;
  unregister(): Promise<void>;
  /** Calls a user, a number or a SIP URI. Returns at once, so that no event can be missed. */
  dial(to: string, options?: MediaOptions): Call;
  /** Hangs up every call and signs out. */
  close(): void;
}
