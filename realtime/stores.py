"""Everything that is kept: one database, one object a collection."""

from care.policy import Policy
from care.ports import Clock
from realtime.secrets import Secrets
from storage.accounts import AccountStore
from storage.addresses import Addresses
from storage.audit import AuditTrail
from storage.call_quality import CallQuality
from storage.call_tickets import CallTickets
from storage.calls import Calls
from storage.cancellations import Cancellations
from storage.catalogue import Diagnoses, Drugs
from storage.comments import Comments
from storage.complaints import Complaints
from storage.consultations import Consultations
from storage.database import Database
from storage.demo import DemoMarks
from storage.doctors import Doctors
from storage.drug_orders import DrugOrders
from storage.favourites import Favourites
from storage.files import Files
from storage.groups import Groups
from storage.likes import Likes
from storage.login_failures import LoginFailureStore
from storage.messages import Messages
from storage.names import Names
from storage.notices import Notices
from storage.outbox import Outbox
from storage.payments import Payments
from storage.people import People
from storage.pharmacies import Pharmacies
from storage.posts import Posts
from storage.prescriptions import Prescriptions
from storage.presence import Presence
from storage.read_marks import ReadMarks
from storage.reconciliations import Reconciliations
from storage.recordings import Recordings
from storage.reviews import Reviews
from storage.room_access import RoomAccess
from storage.schedules import Schedules
from storage.sessions import SessionStore
from storage.signing_keys import SigningKeyStore
from storage.slots import Slots
from storage.sms_codes import SmsCodeStore
from storage.subscriptions import Consents
from storage.vault import Vault
from storage.wechat_tokens import WechatTokens


class Stores:
    def __init__(
        self, database: Database, secrets: Secrets, clock: Clock, policy: Policy, node: str
    ) -> None:
        self.database = database
        self.vault = Vault({"1": secrets.data_key}, "1", secrets.index_key)
        self.audit = AuditTrail(database, clock)
        self.sessions = SessionStore(database)
        self.files = Files(database)
        self.doctors = Doctors(database, node, clock)
        self.accounts = AccountStore(database, self.vault, self.sessions, self.files, self.doctors)
        self.login_failures = LoginFailureStore(database, policy.accounts)
        self.sms_codes = SmsCodeStore(database, policy.accounts)
        self.wechat_tokens = WechatTokens(database, self.vault)
        self.people = People(database, self.vault)
        self.demo_marks = DemoMarks(database)
        self.departments = Names(database, "departments")
        self.hospitals = Names(database, "hospitals")
        self.favourites = Favourites(database)
        self.reviews = Reviews(database, self.doctors)
        self.outbox = Outbox(database, clock, policy.outbox)
        self.schedules = Schedules(database)
        self.slots = Slots(database)
        self.consultations = Consultations(
            database, self.outbox, self.people, self.doctors, self.files, self.slots,
            Cancellations(database, policy.bookings),
        )  # fmt: skip
        self.groups = Groups(database, self.outbox, self.consultations)
        self.complaints = Complaints(database, self.outbox, self.files, self.vault)
        self.room_access = RoomAccess(
            self.consultations, self.groups, self.complaints, self.accounts
        )
        self.calls = Calls(database, self.outbox)
        self.posts = Posts(database, self.files)
        self.comments = Comments(database)
        self.likes = Likes(database)
        self.drugs = Drugs(database)
        self.diagnoses = Diagnoses(database)
        self.prescriptions = Prescriptions(database, self.outbox)
        self.pharmacies = Pharmacies(database)
        self.addresses = Addresses(database, self.vault)
        self.drug_orders = DrugOrders(
            database, self.outbox, self.prescriptions, self.pharmacies, self.vault
        )
        self.signing_keys = SigningKeyStore(database, self.vault)
        self.call_quality = CallQuality(database)
        self.call_tickets = CallTickets(database)
        self.recordings = Recordings(database, self.outbox, clock)
        self.payments = Payments(database, self.outbox)
        self.reconciliations = Reconciliations(database)
        self.messages = Messages(database)
        self.read_marks = ReadMarks(database)
        self.consents = Consents(database)
        self.notices = Notices(database, self.outbox, self.consents)
        self.presence = Presence(database, node, clock)

    async def ensure_indexes(self) -> None:
        """Make every collection and index that is missing; two processes may do so at once."""
        with self.database.unhurried():
            for part in vars(self).values():
                if hasattr(part, "ensure_indexes"):
                    await part.ensure_indexes()
