import type { HostDriver } from './driver/driver.js';
import {
  demandCurrent,
  grant,
  makeOffer,
  type Offer,
  type OfferLimits,
  type WantedLaunch,
  type WantedSnp,
} from './features.js';
import type { ImageCatalogue } from './images.js';
import type { Launch, LaunchSpec } from './lifecycle/cvm.js';
import type { Registry } from './lifecycle/registry.js';

/** What an update puts under a CVM. */
export interface WantedUpdate {
  readonly imageDigest: Uint8Array;
  /** undefined: the guest policy as before, without ID block. */
  readonly snp: WantedSnp | undefined;
  /** 0: none. */
  readonly svn: number;
}

const none = new Uint8Array();

/** From what a tenant asks for to what the host will be told: offer, grant, image, measurement. */
export class Planning {
  readonly #driver: HostDriver;
  readonly #images: ImageCatalogue;
  readonly #registry: Registry;
  readonly #limits: OfferLimits;

  constructor(driver: HostDriver, images: ImageCatalogue, registry: Registry, limits: OfferLimits) {
    this.#driver = driver;
    this.#images = images;
    this.#registry = registry;
    this.#limits = limits;
  }

  /** What is offered now. */
  async offer(): Promise<Offer> {
    return makeOffer(await this.#driver.capabilities(), this.#limits);
  }

  /**
   * Runs `work` with a way to plan a launch. Firmware that the tenant brings is kept until `work`
   * has ended, and after it where a CVM uses it.
   * @throws CvmpError FEATURE_SET_STALE, FEATURE_UNSUPPORTED, POLICY_DEBUG, INVALID_FIELD,
   *   IMAGE_UNKNOWN, DRIVER, and what `work` throws
   */
  async planned<T>(
    featureSetId: Uint8Array,
    wanted: WantedLaunch,
    work: (plan: () => Promise<Launch>) => Promise<T>,
  ): Promise<T> {
    const releases: (() => void)[] = [];
    const plan = async () => {
      const offer = await this.offer();
      demandCurrent(offer, featureSetId);
      const spec = grant(offer, wanted);
      if (spec.firmwareDigest !== undefined) {
        releases.push((await this.#images.holdFirmware(wanted.auxilaryFirmware)).release);
      }
      return this.#launch(spec);
    };
    try {
      return await work(plan);
    } finally {
      for (const release of releases) release();
      if (releases.length > 0) await this.sweep();
    }
  }

  /** What a CVM becomes by an update; its shape, features and firmware stay. */
  async replanned(before: LaunchSpec, wanted: WantedUpdate): Promise<Launch> {
    const { firmwareDigest } = before;
    const spec = grant(await this.offer(), {
      ...before,
      keyId: before.keyId ?? none,
      auxilaryFirmware: none,
      imageDigest: wanted.imageDigest,
      svn: wanted.svn,
      snp: wanted.snp ?? {
        guestPolicy: before.snp.guestPolicy,
        idBlock: none,
        idAuth: none,
      },
    });
    return this.#launch(firmwareDigest === undefined ? spec : { ...spec, firmwareDigest });
  }

  /** Forgets firmware of tenants that no CVM uses any more. */
  async sweep(): Promise<void> {
    const inUse = this.#registry
      .all()
      .flatMap(({ launch, pending }) => [launch, ...(pending?.launch ? [pending.launch] : [])])
      .flatMap(({ spec }) => spec.firmwareDigest ?? []);
    await this.#images.sweepFirmware(inUse);
  }

  async #launch(spec: LaunchSpec): Promise<Launch> {
    const image = await this.#images.launchImage(spec);
    return { spec, plan: await this.#driver.plan({ ...spec, image }) };
  }
}
