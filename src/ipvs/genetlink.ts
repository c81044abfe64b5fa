/**
 * Generic netlink: finding the number of a family by its name
 * (include/uapi/linux/genetlink.h, net/netlink/genetlink.c).
 *
 * @module
 */
import { AttributeReader, MessageFlag, type MessageReader, type MessageWriter } from "./netlink.ts";

/** `nlmsg_type` of the controller (GENL_ID_CTRL), and of no family before it. */
export const controllerId = 0x10;

const getFamily = 3; // CTRL_CMD_GETFAMILY
const Attribute = { familyId: 1, familyName: 2 } as const;

/** Length of struct genlmsghdr. */
export const genericHeaderLength = 4;

/** Asks for the number of a family; autoloads its module where the kernel has modprobe. */
export function encodeGetFamily(writer: MessageWriter, name: string, sequence: number): void {
  writer.beginMessage(controllerId, MessageFlag.request, sequence);
  writer.genericHeader(getFamily, 1);
  writer.text(Attribute.familyName, name);
  writer.endMessage();
}

/** The family's number in the answer the reader stands at, or undefined where it says none. */
export function decodeFamilyId(message: MessageReader): number | undefined {
  const { view, payload, end } = message;
  const attribute = new AttributeReader(view, payload + genericHeaderLength, end);
  while (attribute.next()) {
    if (attribute.type === Attribute.familyId) return attribute.uint();
  }
  return undefined;
}
