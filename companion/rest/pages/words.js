// The wire's words as a person reads them.

export const CONNECTION = {
  connecting: "连接中…",
  connected: "已连接",
  waiting: "连接已断开，正在重连…",
  closed: "未连接",
  refused: "登录已失效，请重新登录",
};

export const STATE = {
  awaiting_payment: "待付款",
  awaiting_doctor: "待接诊",
  in_progress: "问诊中",
  ended: "已结束",
  cancelled: "已取消",
  declined: "已退诊",
  expired: "已过期",
  refused_transfer: "已拒绝转诊",
};

// a booking is not waited for, it is kept
export const stateOf = ({ state, slot }) =>
  slot && state === "awaiting_doctor" ? "已预约" : STATE[state] ?? state;

export const MODE = { text: "图文", voice: "语音", video: "视频" };

export const OPEN = ["awaiting_payment", "awaiting_doctor", "in_progress"];

export const BECAUSE = {
  unpaid: "未付款将自动取消",
  not_accepted: "未接诊将自动关闭",
  no_reply: "医生未回复将自动关闭",
  idle: "无新消息将自动结束",
  time_up: "时长已满将结束",
  no_show: "未进行通话将自动关闭",
};

export const PAYMENT = {
  pending: "待支付", paid: "已支付", refunding: "退款中", refunded: "已退款", closed: "未支付",
};

export const FREQUENCY = {
  qd: "每日1次", bid: "每日2次", tid: "每日3次", qid: "每日4次", q12h: "每12小时1次",
  q8h: "每8小时1次", q6h: "每6小时1次", qn: "每晚1次", qod: "隔日1次", prn: "必要时", st: "立即一次",
};

export const SEX = { male: "男", female: "女" };

// whose turn it is, as each side reads it
export const TURN = {
  patient: { doctor: "待医生回复", patient: "待您回复" },
  doctor: { doctor: "待您回复", patient: "待患者回复" },
};
